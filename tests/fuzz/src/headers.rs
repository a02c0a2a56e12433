//! What the app gets to see of a request's fields: a head of the input, rewritten and written
//! anew, is read by the reference. The first byte says whether its sender is trusted.

use bytes::{Bytes, BytesMut};
use ignite_gateway::body::Body;
use ignite_gateway::gateway::headers::{forwarded::Peer, rewrite_request};
use ignite_gateway::http1::encode;
use ignite_gateway::http1::framing::Framing;
use ignite_gateway::http1::head::{self, HeadScan};
use ignite_gateway::ids::ExecutionIds;
use ignite_gateway::message::{Request, Upgrade};

use super::exchange::{self, Fate, show};
use super::reference::{self, Limits};
use super::requests::same_request;
use super::stage::route;

/// The target.
pub fn run(input: &[u8]) {
    let trusted = input.first().is_some_and(|first| first.is_ascii_lowercase());
    let limits = head::Limits { bytes: 1 << 20, fields: 100, target: 1 << 16 };
    let mut buffer = BytesMut::from(input);
    let mut scan = HeadScan::default();
    head::skip_empty_lines(&mut buffer, &mut scan);
    let parsed = head::take_request(&mut buffer, &mut scan, &limits);
    let Ok(Some(head)) = parsed else { return };
    let networks = if trusted { vec!["192.0.2.0/24".parse().unwrap()] } else { Vec::new() };
    let peer = Peer::new("192.0.2.7:4000".parse().unwrap(), &networks);
    let protocol = head.upgrade.clone();
    let mut request = Request {
        method: head.method,
        target: head.target,
        authority: head.authority,
        version: head.version,
        fields: head.fields,
        body: Body::empty(),
        expects_continue: head.expects_continue,
        upgrade: head.upgrade.map(|protocol| Upgrade {
            protocol,
            incoming: Body::empty(),
            accept: None,
        }),
    };
    let id = ExecutionIds::new().mint();
    let rewritten = rewrite_request(&mut request, &route(), &peer, &id, None);

    // The same by the reference, which has the content, too: here nobody reads that.
    let mut rest = input;
    let reference_limits =
        Limits { bytes: limits.bytes, fields: limits.fields, target: limits.target };
    let mut wanted = reference::request(&mut rest, &reference_limits).expect("a head");
    (wanted.content, wanted.trailers) = (Vec::new(), Vec::new());
    let told = || show(input);
    if rewritten.is_err() {
        // A trusted peer is refused more: it must not let its callers nominate what it says of them.
        assert!(trusted || exchange::fate(&wanted) != Fate::Forwarded, "{}", told());
        return;
    }
    let mut out = BytesMut::new();
    let (method, target) = (&request.method, &request.target);
    let protocol: Option<Bytes> = protocol;
    encode::request_head(
        &mut out,
        method,
        target,
        &request.fields,
        Framing::None,
        protocol.as_deref(),
    );
    let mut written = &out[..];
    let limits = Limits { bytes: usize::MAX, fields: 200, target: usize::MAX };
    let seen =
        reference::request(&mut written, &limits).unwrap_or_else(|f| panic!("{f:?} {}", told()));
    assert_eq!(written, b"", "{}", told());
    for (name, value) in [
        ("x-ignite-execution-id", id.as_str()),
        ("x-ignite-function-id", "acme/hello"),
        ("x-ignite-organization-id", "acme"),
    ] {
        let values: Vec<_> = reference::values(&seen.fields, name).collect();
        assert_eq!(values, [value.as_bytes()], "{}", told());
    }
    let reserved = seen.fields.iter().filter(|(name, _)| exchange::is_reserved(name)).count();
    assert_eq!(reserved, 3, "{}", told());
    let hosts = reference::values(&wanted.fields, "host").count();
    if !trusted && hosts == 1 {
        same_request(&seen, &wanted, &told);
    }
}
