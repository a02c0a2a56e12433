//! The host of a request: lines of an input are its authority, if not empty, and its `Host` fields.

use bytes::Bytes;
use http::Method;
use ignite_gateway::body::Body;
use ignite_gateway::fields::Builder;
use ignite_gateway::gateway::host;
use ignite_gateway::message::{Request, Version};

use super::exchange::{self, show};

/// The target.
pub fn run(input: &[u8]) {
    let mut lines = input.split(|byte| *byte == b'\n');
    let authority = lines.next().filter(|authority| !authority.is_empty());
    let hosts: Vec<&[u8]> = lines.collect();
    let mut builder = Builder::new();
    builder.push(b"x-before", b"1");
    for host in &hosts {
        builder.push(b"hOst", host);
    }
    let request = Request {
        method: Method::GET,
        target: Bytes::from_static(b"/"),
        authority: authority.map(Bytes::copy_from_slice),
        version: Version::Http11,
        fields: builder.finish().0,
        body: Body::empty(),
        expects_continue: false,
        upgrade: None,
    };
    let found = host::of_request(&request).ok();
    let wanted = match hosts[..] {
        [only] => exchange::host(only),
        _ => None,
    };
    let wanted = wanted.filter(|wanted| {
        authority.is_none_or(|authority| exchange::host(authority).as_ref() == Some(wanted))
    });
    let found = found.as_ref().map(host::Host::as_str);
    assert_eq!(found, wanted.as_deref(), "{}", show(input));
}
