//! PROXY protocol headers, both versions: no part of one is taken for one, and each says what a
//! second reading of `proxy-protocol.txt` finds in it.

use std::net::{IpAddr, SocketAddr};

use ignite_gateway::listener::proxy_protocol::header::{LONGEST, parse};

use super::exchange::show;

/// The target.
pub fn run(input: &[u8]) {
    let result = parse(input);
    let Ok(Some(header)) = result else {
        assert!(input.len() < LONGEST || result.is_err(), "reading never ends: {}", show(input));
        return;
    };
    assert!((1..=input.len().min(LONGEST)).contains(&header.length), "{}", show(input));
    let (own, rest) = input.split_at(header.length);
    for end in 0..own.len() {
        assert_eq!(parse(&own[..end]), Ok(None), "a part of {}", show(own));
    }
    assert_eq!(parse(own), result, "{} behind it changes it", show(rest));
    let source = if own.starts_with(b"PROXY") { text(own) } else { binary(own) };
    assert_eq!(header.source, source, "{}", show(own));
}

/// Version 1, written anew and compared: it has one spelling, but for those of IPv6 addresses.
fn text(line: &[u8]) -> Option<SocketAddr> {
    let line = line.strip_suffix(b"\r\n").expect("a line");
    assert!(line.len() <= 105 && !line.contains(&b'\r') && !line.contains(&b'\n'));
    if line.starts_with(b"PROXY UNKNOWN") {
        return None;
    }
    let line = std::str::from_utf8(line).expect("ASCII");
    let words: Vec<&str> = line.split(' ').collect();
    let [_, family, source, target, source_port, target_port] = words[..] else {
        panic!("not six words: {line:?}");
    };
    let (source, target): (IpAddr, IpAddr) = (source.parse().unwrap(), target.parse().unwrap());
    assert_eq!(family == "TCP4", source.is_ipv4());
    assert_eq!(source.is_ipv4(), target.is_ipv4());
    for port in [source_port, target_port] {
        assert_eq!(port, port.parse::<u16>().unwrap().to_string());
    }
    Some(SocketAddr::new(source, source_port.parse().unwrap()))
}

/// Version 2, by its table of offsets.
fn binary(header: &[u8]) -> Option<SocketAddr> {
    assert!(header.starts_with(b"\r\n\r\n\0\r\nQUIT\n"));
    assert_eq!(usize::from(header[14]) << 8 | usize::from(header[15]), header.len() - 16);
    let port = |at: usize| u16::from(header[at]) << 8 | u16::from(header[at + 1]);
    match (header[12], header[13]) {
        (0x21, 0x11) => {
            let address: [u8; 4] = header[16..20].try_into().unwrap();
            Some(SocketAddr::new(address.into(), port(24)))
        }
        (0x21, 0x21) => {
            let address: [u8; 16] = header[16..32].try_into().unwrap();
            Some(SocketAddr::new(address.into(), port(48)))
        }
        (0x20 | 0x21, _) => None,
        other => panic!("an unknown command: {other:?}"),
    }
}
