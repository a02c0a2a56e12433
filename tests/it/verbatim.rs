//! The request-target reaches the app byte for byte, or not at all.

use crate::support::{Caller, EchoHeads, Gateway, HOST, show};

fn ask(caller: &mut Caller, method: &str, target: &[u8]) -> crate::support::Response {
    let tail = format!(" HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    caller.send([method.as_bytes(), b" ", target, tail.as_bytes()].concat());
    caller.read_response()
}

#[test]
fn odd_targets_reach_the_app_byte_for_byte() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    let mut caller = Caller::new(&gateway);
    let targets: &[&[u8]] = &[
        b"/",
        b"//",
        b"///",
        b"//a//b",
        b"//a//b//",
        b"//evil.test/",
        b"/.",
        b"/./x",
        b"/..",
        b"/../",
        b"/../x",
        b"/../../../../etc/passwd",
        b"/a/../b/./c",
        b"/..%2f",
        b"/..%2F..%2f",
        b"/%2e%2e/",
        b"/%2E%2e%2F",
        b"/..;/x",
        b"/%00",
        b"/a%00b",
        b"/%0d%0aX-Evil:%201",
        b"/%",
        b"/%2",
        b"/%zz",
        b"/%u0041",
        b"/%25%32%65",
        b"/%C3",
        b"/%c3%a4",
        b"/%41%7e",
        b"/a;b=c?d=%zz&&",
        b"/;jsessionid=1",
        b"/?",
        b"/??",
        b"/???a=b",
        b"/x?",
        b"/x?a=b&a=c&a",
        b"/x?&",
        b"/x?=",
        b"/x?a+b=c%20d",
        b"/x?/../y",
        b"/x?url=http://other.test/%23#".strip_suffix(b"#").unwrap(),
        b"/|{}^",
        b"/[x]",
        b"/x?a[]=1&b[c]={\"d\":1}",
        b"/\\",
        b"/\\..\\x",
        b"/a\\b?c\\d",
        b"/\"",
        b"/x?q=\"quoted\"",
        b"/`",
        b"/<>",
        b"/<script>",
        b"/'",
        b"/~user",
        b"/!$&'()*+,;=:@",
        b"/:80/x",
        b"/a:b",
        b"/@x",
        b"/*",
        b"/http://hello-acme.ignite.test/",
        "/\u{e4}".as_bytes(),
        "/\u{20ac}?\u{1f600}=\u{fc}".as_bytes(),
        "/\u{feff}".as_bytes(),
        b"/x HTTP".strip_suffix(b" HTTP").unwrap(),
    ];
    for target in targets {
        ask(&mut caller, "GET", target).expect(200);
        let seen = app.last();
        assert_eq!(show(seen.head.target()), show(target));
        assert_eq!(seen.head.line(), [b"GET ", *target, b" HTTP/1.1"].concat());
    }
    assert_eq!(app.seen().len(), targets.len());
}

#[test]
fn every_visible_byte_in_path_and_query_passes_as_it_is() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    let mut caller = Caller::new(&gateway);
    for byte in (0x21..0x7f).filter(|byte| *byte != b'#') {
        let target = [b'/', b'a', byte, b'b', b'?', b'c', byte, b'd'];
        ask(&mut caller, "GET", &target).expect(200);
        assert_eq!(show(app.last().head.target()), show(&target));
    }
}

#[test]
fn long_targets_pass_up_to_the_limit() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    let mut caller = Caller::new(&gateway);
    for length in [1000, 8 << 10, (16 << 10) - 1, 16 << 10] {
        let target = format!("/{}", "x%2F".repeat(length)).into_bytes();
        ask(&mut caller, "GET", &target[..length]).expect(200);
        assert!(app.last().head.target() == &target[..length], "{length} bytes");
    }
}

#[test]
fn an_asterisk_passes_with_options_alone() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    ask(&mut Caller::new(&gateway), "OPTIONS", b"*").expect(200);
    assert_eq!(app.last().head.line(), b"OPTIONS * HTTP/1.1");
    for method in ["GET", "POST", "options", "HEAD"] {
        let mut caller = Caller::new(&gateway);
        let tail = format!("{method} * HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
        caller.send(tail);
        let response = caller.try_read_response(method == "HEAD").unwrap();
        assert_eq!(response.status, 400, "{method}");
    }
    assert_eq!(app.seen().len(), 1);
}

#[test]
fn forbidden_targets_are_refused_and_nothing_reaches_the_app() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    let mut targets: Vec<Vec<u8>> = [
        &b""[..],
        b"#",
        b"/#",
        b"/a#b",
        b"/a?b#c",
        b"/#a#b",
        b"/a b",
        b"/a ",
        b" /a",
        b"/a\tb",
        b"/a\rb",
        b"x",
        b"x/y",
        b"?a=b",
        b"*/",
        b"**",
        b"hello-acme.ignite.test",
        b"hello-acme.ignite.test:80",
        b"hello-acme.ignite.test/x",
        b"://x/",
        b"http:",
        b"\\x",
        b"/\xff",
        b"/\xc3",
        b"/\xc3(",
        b"/\x80",
        b"/\xed\xa0\x80",
        b"/\xf5\x80\x80\x80",
        b"/\xc0\xaf",
    ]
    .iter()
    .map(|target| target.to_vec())
    .collect();
    targets.extend((0..0x20).chain([0x7f]).map(|byte| vec![b'/', b'a', byte, b'b']));
    for target in targets {
        let mut caller = Caller::new(&gateway);
        let response = ask(&mut caller, "GET", &target);
        assert_eq!(response.status, 400, "{}", show(&target));
        response.expect_problem(400, "http_request_error");
        caller.expect_closed();
    }
    app.expect_untouched();
}
