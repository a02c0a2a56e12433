//! Every message, as a person reads it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::*;

const PORT: u16 = 41_231;

fn told(listening: &[&str], failure: &ProbeFailure) -> String {
    let listening: Vec<SocketAddr> = listening.iter().map(|at| at.parse().unwrap()).collect();
    explain(PORT, &listening, failure, "/healthz")
}

fn refused(listening: &[&str]) -> String {
    told(listening, &ProbeFailure::Refused)
}

#[test]
fn an_app_that_listens_nowhere_is_told_to() {
    let expected = "does not listen on $PORT=41231: start an HTTP server on 0.0.0.0 and the port \
                    that the environment variable PORT names";
    assert_eq!(refused(&[]), expected);
    let unreachable = ProbeFailure::Unreachable(std::io::Error::other("x"));
    assert_eq!(told(&[], &unreachable), expected);
}

#[test]
fn an_app_that_listens_on_another_port_hears_which() {
    let rest = "not on $PORT=41231: read PORT from the environment";
    assert_eq!(refused(&["0.0.0.0:3000"]), format!("listens on 3000, {rest}"));
    assert_eq!(refused(&["0.0.0.0:3000", "[::]:3000"]), format!("listens on 3000, {rest}"));
    let three = ["127.0.0.1:9229", "0.0.0.0:3000", "[::]:80"];
    assert_eq!(refused(&three[..2]), format!("listens on 3000 and 9229, {rest}"));
    assert_eq!(refused(&three), format!("listens on 80, 3000 and 9229, {rest}"));
}

#[test]
fn an_app_at_a_wrong_address_hears_which() {
    assert_eq!(
        refused(&["10.0.0.5:41231", "127.0.0.1:9229"]),
        "listens on $PORT=41231 only at 10.0.0.5: listen on 0.0.0.0"
    );
    assert_eq!(
        refused(&["127.0.0.2:41231", "[::1]:41231"]),
        "listens on $PORT=41231 only at 127.0.0.2 and ::1: listen on 0.0.0.0"
    );
    assert_eq!(
        refused(&["[::1]:41231"]),
        "listens on $PORT=41231 only on IPv6 (::1): listen on 0.0.0.0, or on :: without IPV6_V6ONLY"
    );
}

#[test]
fn an_app_that_was_only_slow_is_not_blamed() {
    for at in ["127.0.0.1:41231", "0.0.0.0:41231", "[::ffff:127.0.0.1]:41231"] {
        assert_eq!(
            refused(&["10.0.0.5:41231", at]),
            "listens on $PORT=41231 since a moment: the next probe should reach it"
        );
    }
}

#[test]
fn a_health_path_that_is_not_2xx_is_named_with_its_status() {
    let told = |status| told(&["0.0.0.0:41231"], &ProbeFailure::Status(status));
    assert_eq!(told(404), "GET /healthz answered 404: serve it with 2xx, or pass --health-path");
    assert!(told(302).starts_with("GET /healthz answered 302, and redirects are not followed: "));
    assert!(told(401).starts_with("GET /healthz answered 401, and a probe has no credentials: "));
    assert!(told(500).starts_with("GET /healthz answered 500: the app says that it is not ready"));
    for status in [302, 401, 404, 500] {
        assert!(told(status).ends_with("or pass --health-path"));
    }
}

#[test]
fn a_slow_health_path_hears_the_limit() {
    let told = told(&["0.0.0.0:41231"], &ProbeFailure::Timeout);
    assert!(told.starts_with("GET /healthz did not answer within 1 s: "), "{told}");
}

#[tokio::test]
async fn an_answer_that_is_no_http_is_told_to_drop_tls() {
    use crate::upstream::health::{Speech, probe};
    use tokio::io::AsyncWriteExt as _;

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let limit = std::time::Duration::from_secs(20);
    let (result, ()) = tokio::join!(probe(address, "/", Speech::Http1, limit), async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"\x15\x03\x03\x00\x02\x02\x46\r\n\r\n").await.unwrap();
    });
    let told = told(&["0.0.0.0:41231"], &result.unwrap_err());
    assert!(told.starts_with("GET /healthz got no valid HTTP/1.1 answer ("), "{told}");
    assert!(told.ends_with("serve plain HTTP on $PORT=41231; TLS ends at the gateway"), "{told}");
}

#[test]
fn an_app_only_on_loopback_is_warned_that_a_container_differs() {
    let warned = |listening: &[&str]| {
        let listening: Vec<SocketAddr> = listening.iter().map(|at| at.parse().unwrap()).collect();
        warning(PORT, &listening).is_some()
    };
    assert!(warned(&["127.0.0.1:41231"]));
    assert!(warned(&["[::1]:41231", "[::ffff:127.0.0.1]:41231", "0.0.0.0:9229"]));
    assert!(!warned(&["0.0.0.0:41231"]));
    assert!(!warned(&["127.0.0.1:41231", "[::]:41231"]));
    assert!(!warned(&["127.0.0.1:9229"]), "another port is no matter");
    assert!(!warned(&[]), "nothing seen, nothing said");
}
