//! A request that waits to be written when its connection ends.

use crate::support::app::AppConnection;
use crate::support::caller::request;
use crate::support::frames::{END_STREAM, INITIAL_WINDOW_SIZE, headers};
use crate::support::{Caller, HOST, PIECE, QUIET, ScriptedApp, Signal, eventually};

/// More than all buffers on the way take.
const ENDLESS: usize = 1 << 30;

/// Takes the head of an upload and no more, with a window for all of it.
fn takes_no_more(connection: &mut AppConnection, until: &Signal) {
    connection.shrink_buffers();
    let mut app = connection.http2(&[(INITIAL_WINDOW_SIZE, 1 << 30)]);
    app.open_connection_window();
    app.next_stream(0).expect("the upload");
    until.wait();
}

/// RFC 9113 section 8.7: what the app cannot have begun may be sent again, also a POST.
#[test]
fn a_post_of_which_no_byte_has_left_is_sent_on_another_connection() {
    let end = Signal::new();
    let until = end.clone();
    let app = ScriptedApp::start(move |connection| {
        if connection.number == 0 {
            return takes_no_more(connection, &until);
        }
        let mut app = connection.http2(&[]);
        let stream = app.next_stream(0).expect("the request that waited");
        app.send(headers(stream, END_STREAM, &[(":status", "200")]));
        app.read_to_close();
    });
    let gateway = super::gateway(&[app.address()], super::h2c);
    let mut upload = Caller::new(&gateway);
    upload.send(request("POST /upload", &format!("Content-Length: {ENDLESS}\r\n"), ""));
    let sent = upload.send_until_blocked(&PIECE, ENDLESS, QUIET);
    assert!(sent < ENDLESS, "nothing was in the way");
    // Behind what the app does not take.
    let mut caller = Caller::new(&gateway);
    caller.send(super::post("/", ""));
    let endpoint = gateway.route(HOST).endpoints[0].clone();
    eventually("both are at the endpoint", || endpoint.in_flight() == 2);
    assert_eq!(app.connections(), 1, "both are on one connection");
    end.give();
    let _ = caller.read_response().expect(200);
    assert_eq!(app.connections(), 2);
    drop(upload);
}
