//! A listener behind a TCP load balancer: who called is what the PROXY header
//! says, if a trusted peer says it, and without a header nothing is served.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ignite_gateway::config::Config;

use crate::binary::{Folder, Serve, access_lines, config};
use crate::support::caller::{get, request};
use crate::support::{Caller, EchoHeads, Gateway, eventually};

const LINE: &[u8] = b"PROXY TCP4 192.0.2.7 10.0.0.1 56324 443\r\n";

/// A version 2 header.
fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, block].concat()
}

fn block_v4() -> Vec<u8> {
    [&[192, 0, 2, 7, 10, 0, 0, 1][..], &56324_u16.to_be_bytes(), &443_u16.to_be_bytes()].concat()
}

fn block_v6() -> Vec<u8> {
    let source = "2001:db8::7".parse::<std::net::Ipv6Addr>().unwrap().octets();
    [&source[..], &[0; 16], &56324_u16.to_be_bytes(), &443_u16.to_be_bytes()].concat()
}

/// A no-op and a unique id.
const VECTORS: &[u8] = b"\x04\x00\x03...\x05\x00\x08identity";

fn local() -> Vec<u8> {
    v2(0x20, 0, &[])
}

/// An app behind a gateway that believes headers from 127.0.0.1 alone.
fn behind(change: impl FnOnce(&mut Config)) -> (EchoHeads, Gateway) {
    let app = EchoHeads::start();
    let gateway = Gateway::of_with(app.address(), |config| {
        config.listeners[0].proxy_protocol = true;
        config.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
        change(config);
    });
    (app, gateway)
}

/// What the app saw in `X-Forwarded-For` of its last request.
#[track_caller]
fn forwarded_for(app: &EchoHeads) -> String {
    app.last().field("x-forwarded-for").expect("a chain")
}

/// The connections that were closed for this reason.
fn refused(admin: SocketAddr, reason: &str) -> usize {
    let mut caller = Caller::to(admin);
    caller.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let text = caller.read_response().expect(200).text();
    let name = "ignite_gateway_downstream_proxy_protocol_refused_total{";
    let reason = format!("reason=\"{reason}\"");
    let rows = text.lines().filter(|line| line.starts_with(name) && line.contains(&reason));
    rows.map(|row| row.rsplit_once(' ').unwrap().1.parse::<usize>().unwrap()).sum()
}

#[track_caller]
fn wait_refused(gateway: &Gateway, reason: &str, count: usize) {
    eventually("the refusals are counted", || refused(gateway.admin(), reason) == count);
}

#[test]
fn who_called_is_what_the_header_says() {
    let (app, gateway) = behind(|_| {});
    let with_vectors = [block_v4(), VECTORS.to_vec()].concat();
    let full = [block_v4(), vec![0xee; 4096 - 16 - 12]].concat();
    for (header, expected) in [
        (LINE.to_vec(), "192.0.2.7"),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 56324 443\r\n".to_vec(), "2001:db8::7"),
        (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 56324 443\r\n".to_vec(), "192.0.2.7"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (b"PROXY UNKNOWN 192.0.2.7 10.0.0.1 56324 443\r\n".to_vec(), "127.0.0.1"),
        (v2(0x21, 0x11, &block_v4()), "192.0.2.7"),
        (v2(0x21, 0x11, &with_vectors), "192.0.2.7"),
        (v2(0x21, 0x11, &full), "192.0.2.7"),
        (v2(0x21, 0x21, &block_v6()), "2001:db8::7"),
        (local(), "127.0.0.1"),
        (v2(0x20, 0x11, &with_vectors), "127.0.0.1"),
        (v2(0x21, 0x00, VECTORS), "127.0.0.1"),
        (v2(0x21, 0x12, &block_v4()), "127.0.0.1"),
        (v2(0x21, 0x31, &[b'/'; 216]), "127.0.0.1"),
    ] {
        // Behind the header in the same segment, then once more on the same connection.
        let mut caller = Caller::new(&gateway);
        caller.send([&header, get("/first").as_bytes()].concat());
        caller.read_response().expect(200);
        assert_eq!(forwarded_for(&app), expected, "{}", header.escape_ascii());
        let body = request("POST /second", "Content-Length: 4\r\n", "body");
        caller.send(body);
        caller.read_response().expect(200);
        assert_eq!(
            (forwarded_for(&app).as_str(), app.last().content.as_slice()),
            (expected, &b"body"[..])
        );
        assert_eq!(app.last().head.target(), b"/second");
        assert_eq!(app.last().field("x-forwarded-proto").as_deref(), Some("http"));

        // In pieces as small as can be.
        let mut caller = Caller::new(&gateway);
        for byte in header.iter().take(300) {
            caller.send([*byte]);
        }
        caller.send(header.get(300..).unwrap_or_default());
        assert_eq!(caller.get("/pieces").expect(200).status, 200);
        assert_eq!(forwarded_for(&app), expected, "{}", header.escape_ascii());
    }
    for reason in ["untrusted", "malformed", "closed", "timeout"] {
        assert_eq!(refused(gateway.admin(), reason), 0, "{reason}");
    }
}

#[test]
fn requests_that_came_with_the_header_are_answered_in_their_order() {
    let (app, gateway) = behind(|_| {});
    let mut caller = Caller::new(&gateway);
    let pipelined = [get("/1"), request("POST /2", "Content-Length: 3\r\n", "abc"), get("/3")];
    caller.send([LINE, pipelined.concat().as_bytes()].concat());
    for _ in 0..3 {
        caller.read_response().expect(200);
    }
    let targets: Vec<_> = app.seen().iter().map(|seen| seen.head.target().to_vec()).collect();
    assert_eq!(targets, [b"/1", b"/2", b"/3"]);
    assert_eq!(app.seen()[1].content, b"abc");
}

#[test]
fn a_peer_that_is_not_trusted_is_closed_before_its_header_is_read() {
    let (app, gateway) = behind(|_| {});
    let stranger = Ipv4Addr::new(127, 0, 0, 2).into();
    for (number, bytes) in [LINE, &v2(0x21, 0x11, &block_v4()), &local(), b""].iter().enumerate() {
        let mut caller = Caller::from(stranger, gateway.address());
        // It may be gone before all is sent.
        let _ = caller.try_send([bytes, get("/").as_bytes()].concat());
        caller.expect_closed();
        wait_refused(&gateway, "untrusted", number + 1);
    }
    app.expect_untouched();
    let mut caller = Caller::from(Ipv4Addr::LOCALHOST.into(), gateway.address());
    caller.send(LINE);
    caller.get("/").expect(200);
}

#[test]
fn trust_that_a_reload_gives_or_takes_counts_for_the_next_connection() {
    let (_app, mut gateway) = behind(|config| config.trusted_proxies.clear());
    Caller::new(&gateway).expect_closed();
    gateway.reload(|config| config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()]);
    let mut caller = Caller::new(&gateway);
    caller.send(LINE);
    caller.get("/").expect(200);
    gateway.reload(|config| config.trusted_proxies.clear());
    Caller::new(&gateway).expect_closed();
    caller.get("/").expect(200);
}

#[test]
fn what_is_no_header_closes_the_connection_without_an_answer() {
    let (app, gateway) = behind(|_| {});
    let too_long = [block_v4(), vec![0; 4096 - 16 - 12 + 1]].concat();
    let mut version_1_of_2 = v2(0x21, 0x11, &block_v4());
    version_1_of_2[12] = 0x11;
    let variants: Vec<Vec<u8>> = vec![
        b"PROXY TCP6 192.0.2.7 10.0.0.1 56324 443\r\n".to_vec(),
        b"PROXY TCP4 2001:db8::7 2001:db8::1 56324 443\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 10.0.0.1 65536 443\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 10.0.0.1 56324 65536\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 10.0.0.1 056324 443\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.07 10.0.0.1 56324 443\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 10.0.0.1 56324 443\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 10.0.0.1 56324 443\r".to_vec(),
        b"PROXY TCP4 192.0.2.7 10.0.0.1 56324 443".to_vec(),
        b"PROXY TCP4 192.0.2.7 10.0.0.1  56324 443\r\n".to_vec(),
        b"PROXY UDP4 192.0.2.7 10.0.0.1 56324 443\r\n".to_vec(),
        b"proxy TCP4 192.0.2.7 10.0.0.1 56324 443\r\n".to_vec(),
        [&b"PROXY UNKNOWN "[..], &[b'x'; 107]].concat(),
        b"\r\n\r\n\0\r\nQUIT\r".to_vec(),
        v2(0x22, 0x11, &block_v4()),
        v2(0x21, 0x41, &block_v4()),
        v2(0x21, 0x13, &block_v4()),
        v2(0x21, 0x11, &block_v4()[..11]),
        v2(0x21, 0x21, &block_v4()),
        v2(0x21, 0x11, &too_long),
        v2(0x20, 0x00, &too_long),
        version_1_of_2,
        // No header at all: nobody guesses.
        Vec::new(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
    ];
    for (number, variant) in variants.iter().enumerate() {
        let mut caller = Caller::new(&gateway);
        let _ = caller.try_send([variant, get("/smuggled").as_bytes()].concat());
        caller.expect_closed();
        eventually("the refusal is counted", || {
            let count = refused(gateway.admin(), "malformed");
            assert!(count <= number + 1, "{}", variant.escape_ascii());
            count == number + 1
        });
    }
    app.expect_untouched();
}

#[test]
fn a_second_header_is_no_request() {
    let (app, gateway) = behind(|_| {});
    let mut caller = Caller::new(&gateway);
    caller.send([LINE, b"PROXY TCP4 127.0.0.1 10.0.0.1 1 2\r\n", get("/").as_bytes()].concat());
    caller.read_response().expect(400);
    caller.expect_closed();
    app.expect_untouched();
}

#[test]
fn a_header_that_does_not_come_in_time_closes_the_connection() {
    let limit = Duration::from_millis(300);
    let (app, gateway) = behind(|config| config.timeouts.header = limit);
    let header = v2(0x21, 0x11, &block_v4());
    for (number, part) in
        [&b""[..], b"P", &LINE[..LINE.len() - 1], &header[..27]].iter().enumerate()
    {
        let start = Instant::now();
        let mut caller = Caller::new(&gateway);
        caller.send(part);
        caller.expect_closed();
        assert!(start.elapsed() >= limit, "{:?}", start.elapsed());
        wait_refused(&gateway, "timeout", number + 1);
    }
    // Bytes that trickle in do not prolong it.
    let mut caller = Caller::new(&gateway);
    let start = Instant::now();
    let patient = [&b"PROXY UNKNOWN "[..], &[b'x'; 90]].concat();
    for byte in patient {
        if caller.try_send([byte]).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(start.elapsed() < Duration::from_secs(10));
    caller.expect_closed();
    wait_refused(&gateway, "timeout", 5);
    app.expect_untouched();
    // The time for a request begins anew behind the header.
    let mut caller = Caller::new(&gateway);
    caller.send(LINE);
    caller.get("/").expect(200);
}

#[test]
fn a_peer_that_leaves_before_its_header_is_whole_is_counted() {
    let (app, gateway) = behind(|_| {});
    let header = v2(0x21, 0x11, &block_v4());
    for (number, part) in [&b""[..], b"PROXY ", &header[..15], &header[..27]].iter().enumerate() {
        let mut caller = Caller::new(&gateway);
        caller.send(part);
        if number % 2 == 0 {
            caller.leave();
        } else {
            caller.reset();
        }
        wait_refused(&gateway, "closed", number + 1);
    }
    app.expect_untouched();
}

#[test]
fn forwarding_fields_are_believed_by_the_announced_address() {
    let (app, gateway) = behind(|config| {
        config.trusted_proxies.push("203.0.113.0/24".parse().unwrap());
    });
    let claim = request("GET /", "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\n", "");
    for (header, chain, scheme) in [
        // The load balancer is trusted, whoever called it is not.
        (LINE.to_vec(), "192.0.2.7", "http"),
        // Another proxy called the load balancer.
        (b"PROXY TCP4 203.0.113.9 10.0.0.1 1 2\r\n".to_vec(), "1.2.3.4, 203.0.113.9", "https"),
        (b"PROXY TCP6 ::ffff:203.0.113.9 :: 1 2\r\n".to_vec(), "1.2.3.4, 203.0.113.9", "https"),
        // Nobody knows who called: what comes is not the load balancer's word.
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1", "http"),
        (v2(0x21, 0, &[]), "127.0.0.1", "http"),
        (local(), "127.0.0.1", "http"),
    ] {
        let mut caller = Caller::new(&gateway);
        caller.send([&header, claim.as_bytes()].concat());
        caller.read_response().expect(200);
        assert_eq!(forwarded_for(&app), chain, "{}", header.escape_ascii());
        assert_eq!(app.last().field("x-forwarded-proto").as_deref(), Some(scheme));
    }
}

#[test]
fn a_listener_without_the_setting_takes_no_header() {
    let app = EchoHeads::start();
    let gateway = Gateway::of_with(app.address(), |config| {
        config.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    });
    let binary = v2(0x21, 0x11, &block_v4());
    for header in [LINE, &binary] {
        let mut caller = Caller::new(&gateway);
        caller.send([header, get("/").as_bytes()].concat());
        caller.read_response().expect(400);
    }
    app.expect_untouched();
}

#[test]
fn connections_without_a_header_do_not_hold_up_a_drain() {
    let (_app, gateway) = behind(|_| {});
    let mut known = Caller::new(&gateway);
    known.send(LINE);
    known.get("/").expect(200);
    let (mut silent, mut begun) = (Caller::new(&gateway), Caller::new(&gateway));
    begun.send(&LINE[..20]);
    let start = Instant::now();
    gateway.drain();
    known.expect_closed();
    silent.expect_closed();
    begun.expect_closed();
    gateway.finish();
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn a_header_that_crosses_the_drain_is_served() {
    let (_app, gateway) = behind(|_| {});
    let mut late = Caller::new(&gateway);
    gateway.drain();
    late.send([LINE, get("/").as_bytes()].concat());
    late.read_response().expect(200);
    late.expect_closed();
    gateway.finish();
}

// --- the real binary ----------------------------------------------------------------------

/// A configuration with the protocol on, which 127.0.0.1 may speak.
fn file(endpoint: SocketAddr) -> String {
    let text = config("json", &["hello"], endpoint);
    let text = text.replacen("workers", "trusted_proxies = [\"127.0.0.1\"]\nworkers", 1);
    text.replacen("[admin]", "proxy_protocol = true\n\n[admin]", 1)
}

#[test]
fn the_access_log_names_the_announced_client_and_health_checks_leave_no_line() {
    let app = EchoHeads::start();
    let folder = Folder::new();
    let serve = Serve::start(&folder.write("gateway.toml", file(app.address())));
    eventually("the harness's own connection is counted", || refused(serve.admin, "closed") == 1);
    let before = serve.lines().len();
    // One that only connects, one that sends its header and leaves.
    Caller::to(serve.address).leave();
    let mut check = Caller::to(serve.address);
    check.send(local());
    check.finish_sending();
    check.expect_closed();
    eventually("the bare check is counted", || refused(serve.admin, "closed") == 2);
    assert_eq!(serve.lines().len(), before, "{:#?}", serve.lines());
    let mut caller = Caller::to(serve.address);
    caller.send([&v2(0x21, 0x21, &block_v6()), get("/").as_bytes()].concat());
    caller.read_response().expect(200);
    drop(caller);
    let lines = serve.finish();
    let access = access_lines(&lines);
    assert_eq!(access.len(), 1, "{access:#?}");
    assert_eq!(access[0]["client.address"], "2001:db8::7");
    assert_eq!(access[0]["client.port"], 56324);
}

// --- HAProxy as the sender ----------------------------------------------------------------

/// HAProxy in TCP mode in front of a gateway.
struct HaProxy {
    child: Child,
    address: SocketAddr,
}

impl HaProxy {
    /// `None` where it is not installed; in CI it has to be.
    #[track_caller]
    fn start(folder: &Folder, gateway: SocketAddr, options: &str) -> Option<Self> {
        let program = ["haproxy", "/usr/sbin/haproxy"].into_iter().find(|program| {
            let version = Command::new(program).arg("-v").stdin(Stdio::null()).output();
            version.is_ok_and(|output| output.status.success())
        });
        let Some(program) = program else {
            assert!(std::env::var_os("CI").is_none(), "haproxy is missing, and CI must have it");
            eprintln!("!!! haproxy is not installed: NOTHING IS TESTED HERE !!!");
            return None;
        };
        // It takes over a socket that listens already: no port to guess, none to wait for.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let text = format!(
            "global\n  maxconn 100\n\
             defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 20s\n  timeout server 20s\n\
             listen edge\n  bind fd@0\n  server gateway {gateway} {options}\n"
        );
        let file = folder.write("haproxy.cfg", text);
        let mut command = Command::new(program);
        // Not `-q`: it would close standard input.
        command.args(["-db", "-f"]).arg(file).stdin(OwnedFd::from(listener));
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Some(Self { child, address })
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn haproxy_announces_its_callers_in_either_version() {
    let folder = Folder::new();
    for options in [
        "send-proxy",
        "send-proxy-v2",
        "send-proxy-v2 proxy-v2-options crc32c,unique-id",
        "send-proxy-v2 check check-send-proxy inter 20ms",
    ] {
        let (app, gateway) = behind(|_| {});
        let Some(haproxy) = HaProxy::start(&folder, gateway.address(), options) else { return };
        // Not HAProxy's own address, so that it can only come from the header.
        for own in [Ipv4Addr::new(127, 0, 0, 3), Ipv4Addr::new(127, 9, 9, 9)] {
            let mut caller = Caller::from(own.into(), haproxy.address);
            for _ in 0..2 {
                caller.get("/").expect(200);
                assert_eq!(forwarded_for(&app), own.to_string(), "{options}");
            }
        }
        for reason in ["untrusted", "malformed", "timeout"] {
            assert_eq!(refused(gateway.admin(), reason), 0, "{options}: {reason}");
        }
    }
}
