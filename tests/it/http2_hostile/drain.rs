//! How a gateway that ends takes leave of its HTTP/2 callers.

use crate::support::frames::{DATA, END_STREAM, Frames, NO_ERROR, frame, get, post};
use crate::support::{EchoHeads, Gateway, ScriptedApp, Signal};

/// What GOAWAY says before the last stream is known.
const ANY: u32 = u32::MAX >> 1;

/// An app that answers each request once it is told to.
fn waiting_app(asked: &Signal, go_on: &Signal) -> ScriptedApp {
    let (asked, go_on) = (asked.clone(), go_on.clone());
    ScriptedApp::start(move |connection| {
        while let Some(seen) = connection.next_request() {
            asked.give();
            go_on.wait();
            let length = seen.content.len();
            connection.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"));
            connection.send(&seen.content);
        }
    })
}

#[test]
fn requests_in_flight_finish_and_later_ones_are_not_begun() {
    let (asked, go_on) = (Signal::new(), Signal::new());
    let app = waiting_app(&asked, &go_on);
    let gateway = Gateway::of(app.address());
    let mut caller = Frames::call(&gateway);
    caller.send(get(1, "/"));
    asked.wait();
    gateway.drain();
    caller.until("the first GOAWAY", |caller| caller.goaway == Some((ANY, NO_ERROR)));
    caller.until("the last GOAWAY", |caller| caller.goaway == Some((1, NO_ERROR)));
    caller.send(get(3, "/"));
    go_on.give();
    let _ = caller.answer(1).expect(200);
    caller.read_to_close();
    assert_eq!(caller.goaway, Some((1, NO_ERROR)));
    assert!(!caller.streams.contains_key(&3), "{:?}", caller.streams);
    assert_eq!(app.received().len(), 1);
    gateway.finish();
}

#[test]
fn a_request_that_crosses_the_announcement_is_served() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    let mut caller = Frames::call(&gateway);
    caller.answers = false;
    gateway.drain();
    caller.until("the announcement", |caller| caller.goaway == Some((ANY, NO_ERROR)));
    let _ = caller.ask(1, get(1, "/")).expect(200);
    caller.read_to_close();
    assert_eq!(caller.goaway, Some((1, NO_ERROR)));
    gateway.finish();
}

#[test]
fn an_upload_in_flight_is_taken_to_its_end() {
    let (asked, go_on) = (Signal::new(), Signal::new());
    go_on.give();
    let app = waiting_app(&asked, &go_on);
    let gateway = Gateway::of(app.address());
    let mut caller = Frames::call(&gateway);
    caller.send([post(1, "/"), frame(DATA, 0, 1, "before ")].concat());
    gateway.wait_busy(crate::support::HOST, 1);
    gateway.drain();
    caller.until("the last GOAWAY", |caller| caller.goaway == Some((1, NO_ERROR)));
    caller.send(frame(DATA, END_STREAM, 1, "and after"));
    assert_eq!(caller.answer(1).expect(200).content, b"before and after");
    caller.read_to_close();
    gateway.finish();
}

#[test]
fn an_idle_connection_ends_at_once() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    let mut caller = Frames::call(&gateway);
    let _ = caller.ask(1, get(1, "/")).expect(200);
    gateway.drain();
    caller.expect_end(NO_ERROR);
    gateway.finish();
}
