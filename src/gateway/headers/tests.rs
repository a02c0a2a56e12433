#![allow(clippy::format_collect)]

use std::sync::Arc;

use super::*;
use crate::config::Protocol;
use crate::error::Malformed;
use crate::gateway::routes::{AppSpec, PortSpec, RouteTable};
use crate::http1::head::{HeadScan, Limits, take_request};
use crate::ids::ExecutionIds;
use crate::upstream::turns::Concurrency;
use bytes::BytesMut;
use proptest::prelude::*;

fn route() -> Arc<Route> {
    let table = RouteTable::new();
    let spec = AppSpec {
        id: "acme/hello".parse().unwrap(),
        ports: vec![PortSpec {
            port: 80,
            endpoints: Vec::new(),
            draining: Vec::new(),
            protocol: Protocol::Http1,
        }],
        concurrency: Concurrency::default(),
        rate_limit: None,
        ready: true,
    };
    table.register(&spec, &"x.test".parse().unwrap());
    table.routes().remove(0)
}

fn peer(trusted: &str) -> Peer {
    let trusted: Vec<ipnet::IpNet> =
        trusted.split_whitespace().map(|t| t.parse().unwrap()).collect();
    Peer::new("192.0.2.7:4000".parse().unwrap(), &trusted)
}

/// What the app sees of these field lines.
fn rewrite(lines: &str, peer: &Peer) -> Result<Vec<(String, String)>, Error> {
    let limits = Limits { bytes: 1 << 20, fields: 200, target: 100 };
    let mut buffer = BytesMut::from(format!("GET / HTTP/1.1\r\n{lines}\r\n").as_str());
    let head = take_request(&mut buffer, &mut HeadScan::default(), &limits)?.expect("whole");
    let mut request = Request {
        method: head.method,
        target: head.target,
        authority: None,
        version: head.version,
        fields: head.fields,
        body: Body::empty(),
        expects_continue: false,
        upgrade: None,
    };
    rewrite_request(&mut request, &route(), peer, &ExecutionIds::new().mint(), None)?;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    Ok(request.fields.iter().map(|field| (text(field.name), text(field.value))).collect())
}

fn values<'a>(fields: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    let of = |(n, v): &'a (String, String)| n.eq_ignore_ascii_case(name).then_some(v.as_str());
    fields.iter().filter_map(of).collect()
}

#[test]
fn the_client_is_the_nearest_that_is_no_trusted_proxy_and_only_trusted_ones_are_asked() {
    let trusted: Vec<ipnet::IpNet> =
        ["192.0.2.0/24", "10.0.0.0/8", "2001:db8:f::/48"].map(|net| net.parse().unwrap()).to_vec();
    for (lines, client) in [
        (&[][..], "192.0.2.7"),
        (&["198.51.100.1"], "198.51.100.1"),
        // What stands before the nearest stranger is his own word.
        (&["203.0.113.9, 198.51.100.1"], "198.51.100.1"),
        (&["203.0.113.9, 198.51.100.1 , 10.1.2.3,192.0.2.9"], "198.51.100.1"),
        (&["203.0.113.9", "198.51.100.1,10.1.2.3"], "198.51.100.1"),
        (&["198.51.100.1:4711"], "198.51.100.1"),
        (&["2001:db8::1"], "2001:db8::1"),
        (&["[2001:db8::1]:4711, 2001:db8:f::1"], "2001:db8::1"),
        (&["[2001:db8::1]"], "2001:db8::1"),
        (&["::ffff:198.51.100.1, ::ffff:10.0.0.1"], "198.51.100.1"),
        // The farthest, where all are trusted; as far as it can be read.
        (&["10.0.0.2, 10.0.0.1"], "10.0.0.2"),
        (&["198.51.100.1, unknown, 10.0.0.1"], "10.0.0.1"),
        (&["198.51.100.1, 10.0.0.1, \u{fc}"], "192.0.2.7"),
        (&["198.51.100.1, ,"], "198.51.100.1"),
    ] {
        let mut builder = crate::fields::Builder::new();
        for line in lines {
            builder.push(b"X-Forwarded-For", line.as_bytes());
        }
        let (fields, _) = builder.finish();
        let client: std::net::IpAddr = client.parse().unwrap();
        let peer = Peer::new("192.0.2.7:4000".parse().unwrap(), &trusted);
        assert_eq!(forwarded::client(&fields, &peer, &trusted), client, "{lines:?}");
        let stranger = Peer::new("192.0.2.7:4000".parse().unwrap(), &[]);
        assert_eq!(forwarded::client(&fields, &stranger, &[]).to_string(), "192.0.2.7");
    }
}

#[test]
fn nothing_that_a_caller_nominates_removes_what_the_gateway_adds() {
    let lines = "Host: h\r\n\
        Connection: x-ignite-execution-id, X-Ignite-Function-Id\r\n\
        Connection: x-ignite-organization-id, via, x-forwarded-for\r\n\
        x-ignite-organization-id: evil\r\nX_IGNITE_FUNCTION_ID: evil\r\nx.ignite.foo: evil\r\n";
    let fields = rewrite(lines, &peer("")).unwrap();
    assert_eq!(values(&fields, "x-ignite-function-id"), ["acme/hello"]);
    assert_eq!(values(&fields, "x-ignite-organization-id"), ["acme"]);
    assert_eq!(values(&fields, "x-ignite-execution-id").len(), 1);
    assert_eq!(values(&fields, "x-forwarded-for"), ["192.0.2.7"]);
    assert_eq!(values(&fields, "via"), ["1.1 ignite-gateway"]);
    assert!(fields.iter().all(|(_, value)| value != "evil"), "{fields:?}");
}

#[test]
fn every_connection_line_counts() {
    let fields = rewrite(
        "Host: h\r\nA: 1\r\nConnection: a\r\nB: 2\r\nConnection: keep-alive\r\nConnection: B\r\nC: 3\r\n",
        &peer(""),
    )
    .unwrap();
    assert!(values(&fields, "a").is_empty());
    assert!(values(&fields, "b").is_empty());
    assert_eq!(values(&fields, "c"), ["3"]);
}

#[test]
fn nominating_what_routes_or_frames_is_refused() {
    for name in ["host", "Content-Length", "transfer-encoding", ":path"] {
        let result = rewrite(&format!("Host: h\r\nConnection: x, {name}\r\n"), &peer(""));
        assert!(matches!(result, Err(Error::Malformed(Malformed::Connection))), "{name}");
    }
}

#[test]
fn strangers_are_not_believed_and_trusted_peers_are() {
    let lines = "Host: h\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 2.2.2.2\r\n\
        X-Forwarded-Proto: https\r\nX-Forwarded-Host: other\r\nForwarded: for=1.1.1.1\r\n\
        X-Real-IP: 1.1.1.1\r\nX_Forwarded_For: 9.9.9.9\r\n";
    let fields = rewrite(lines, &peer("10.0.0.0/8")).unwrap();
    assert_eq!(values(&fields, "x-forwarded-for"), ["192.0.2.7"]);
    assert_eq!(values(&fields, "x-forwarded-proto"), ["http"]);
    assert_eq!(values(&fields, "x-forwarded-host"), ["h"]);
    for name in ["forwarded", "x-real-ip", "x_forwarded_for"] {
        assert!(values(&fields, name).is_empty(), "{name}");
    }
    let fields = rewrite(lines, &peer("192.0.2.0/24")).unwrap();
    assert_eq!(values(&fields, "x-forwarded-for"), ["1.1.1.1, 2.2.2.2, 192.0.2.7"]);
    assert_eq!(values(&fields, "x-forwarded-proto"), ["https"]);
    assert_eq!(values(&fields, "x-forwarded-host"), ["other"]);
    assert_eq!(values(&fields, "x-real-ip"), ["1.1.1.1"]);
}

#[test]
fn te_passes_only_for_trailers() {
    let fields = rewrite("Host: h\r\nTE: gzip\r\n", &peer("")).unwrap();
    assert!(values(&fields, "te").is_empty());
    let fields = rewrite("Host: h\r\nTE: gzip, Trailers\r\n", &peer("")).unwrap();
    assert_eq!(values(&fields, "te"), ["trailers"]);
}

proptest! {
    #[test]
    fn other_fields_keep_bytes_and_order_and_no_spoof_survives(
        fields in proptest::collection::vec(
            ("[A-Za-z][-A-Za-z_.]{0,20}|[xX][-_.!][iI]gnite[-_.~][-a-zA-Z_]{0,12}", "[!-~]{1,10}"),
            0..20,
        ),
    ) {
        let lines: String = fields.iter().map(|(n, v)| format!("{n}: {v}\r\n")).collect();
        prop_assume!(!fields.iter().any(|(n, _)| matches!(
            Known::of(n.as_bytes()),
            Known::Connection | Known::Host | Known::ContentLength | Known::TransferEncoding
                | Known::Te | Known::Trailer | Known::Via
        )));
        let seen = rewrite(&format!("Host: h\r\n{lines}"), &peer("")).unwrap();
        let kept: Vec<_> =
            fields.iter().filter(|(n, _)| Known::of(n.as_bytes()) == Known::Other).cloned().collect();
        let came: Vec<_> = seen[1..].iter().take(kept.len()).cloned().collect();
        prop_assert_eq!(came, kept);
        let reserved: Vec<_> =
            seen.iter().filter(|(n, _)| Known::of(n.as_bytes()) == Known::Reserved).collect();
        prop_assert_eq!(reserved.len(), 3, "{:?}", seen);
    }
}
