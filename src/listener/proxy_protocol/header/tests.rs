//! Every form by its bytes, every border of it, and whatever else may come.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use proptest::prelude::*;

use super::*;

/// A version 2 header.
fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).expect("a length").to_be_bytes();
    [&SIGNATURE[..], &[command, family], &length, block].concat()
}

const BLOCK_V4: [u8; 12] = [192, 0, 2, 7, 10, 0, 0, 1, 0xdc, 0x04, 0x01, 0xbb];

fn block_v6(source: &str) -> Vec<u8> {
    let address = |text: &str| text.parse::<Ipv6Addr>().unwrap().octets();
    [&address(source)[..], &address("2001:db8::1"), &[0xdc, 0x04, 0x01, 0xbb]].concat()
}

fn source(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// The header is understood when its last byte is there, not before, and takes nothing of what
/// follows.
#[track_caller]
fn whole(header: &[u8], source: impl Into<Option<SocketAddr>>) {
    for end in 0..header.len() {
        assert_eq!(parse(&header[..end]), Ok(None), "at {end} of {}", header.escape_ascii());
    }
    let expected = Ok(Some(Header { length: header.len(), source: source.into() }));
    assert_eq!(parse(header), expected, "{}", header.escape_ascii());
    for rest in ["GET / HTTP/1.1\r\n", "\r\n", "\n", "\0", "PROXY UNKNOWN\r\n"] {
        let followed = [header, rest.as_bytes()].concat();
        assert_eq!(parse(&followed), expected, "{}", followed.escape_ascii());
    }
}

#[track_caller]
fn refused(bytes: &[u8], why: Malformed) {
    assert_eq!(parse(bytes), Err(why), "{}", bytes.escape_ascii());
}

#[test]
fn a_line_names_its_source() {
    for (line, expected) in [
        ("PROXY TCP4 192.0.2.7 10.0.0.1 56324 443\r\n", "192.0.2.7:56324"),
        ("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", "0.0.0.0:0"),
        ("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255:65535"),
        ("PROXY TCP6 2001:db8::7 2001:db8::1 1 2\r\n", "[2001:db8::7]:1"),
        ("PROXY TCP6 2001:DB8:0:0:0:0:0:7 :: 10 80\r\n", "[2001:db8::7]:10"),
        ("PROXY TCP6 ::ffff:192.0.2.7 ::ffff:10.0.0.1 1 2\r\n", "[::ffff:192.0.2.7]:1"),
    ] {
        whole(line.as_bytes(), source(expected));
    }
}

#[test]
fn an_unknown_source_is_none_whatever_stands_behind_it() {
    let full = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    let longest = format!("PROXY UNKNOWN {full} {full} 65535 65535\r\n");
    assert_eq!(longest.len(), LONGEST_LINE);
    for line in [
        &b"PROXY UNKNOWN\r\n"[..],
        b"PROXY UNKNOWN \r\n",
        b"PROXY UNKNOWN what\0 ever \xff\r\n",
        longest.as_bytes(),
    ] {
        whole(line, None);
    }
}

#[test]
fn lines_that_the_grammar_does_not_allow_are_refused() {
    for line in [
        "PROXY \r\n",
        "PROXY  TCP4 192.0.2.7 10.0.0.1 1 2\r\n",
        "PROXY TCP4  192.0.2.7 10.0.0.1 1 2\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 1 2 \r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 1 2 3\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 1\r\n",
        "PROXY TCP4 192.0.2.7 1 2\r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP4\t192.0.2.7 10.0.0.1 1 2\r\n",
        "PROXY tcp4 192.0.2.7 10.0.0.1 1 2\r\n",
        "PROXY UDP4 192.0.2.7 10.0.0.1 1 2\r\n",
        "PROXY TCP 192.0.2.7 10.0.0.1 1 2\r\n",
        "PROXY unknown\r\n",
        "PROXY UNKNOWNS\r\n",
        // Families that do not match.
        "PROXY TCP6 192.0.2.7 10.0.0.1 1 2\r\n",
        "PROXY TCP6 2001:db8::7 10.0.0.1 1 2\r\n",
        "PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n",
        // Addresses that can be read in two ways, or in none.
        "PROXY TCP4 192.0.2.07 10.0.0.1 1 2\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.01 1 2\r\n",
        "PROXY TCP4 192.0.2 10.0.0.1 1 2\r\n",
        "PROXY TCP4 192.0.2.256 10.0.0.1 1 2\r\n",
        "PROXY TCP4 0xc0.0.2.7 10.0.0.1 1 2\r\n",
        "PROXY TCP4 localhost 10.0.0.1 1 2\r\n",
        "PROXY TCP6 2001:db8::7::1 :: 1 2\r\n",
        "PROXY TCP6 1:2:3:4:5:6:7 :: 1 2\r\n",
        "PROXY TCP6 1:2:3:4:5:6:7:8:9 :: 1 2\r\n",
        "PROXY TCP6 00001::7 :: 1 2\r\n",
        "PROXY TCP6 fe80::1%eth0 :: 1 2\r\n",
        "PROXY TCP6 [::1] :: 1 2\r\n",
        // Ports.
        "PROXY TCP4 192.0.2.7 10.0.0.1 65536 2\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 1 65536\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 01 2\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 1 00\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 +1 2\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 -1 2\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 1 \r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 1e1 2\r\n",
        // Ends of line.
        "PROXY TCP4 192.0.2.7 10.0.0.1 1 2\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r ",
        "PROXY TCP4 192.0.2.7\r10.0.0.1 1 2\r\n",
        "PROXY UNKNOWN\n",
        "PROXY UNKNOWN\r\r\n",
    ] {
        refused(line.as_bytes(), Malformed::Line);
    }
    refused(b"PROXY TCP4 192.0.2.\xb7 10.0.0.1 1 2\r\n", Malformed::Line);
}

#[test]
fn a_line_has_its_crlf_within_107_bytes() {
    let unended = [&b"PROXY UNKNOWN "[..], &[b'x'; 200]].concat();
    assert_eq!(parse(&unended[..LONGEST_LINE - 1]), Ok(None));
    refused(&unended[..LONGEST_LINE], Malformed::EndlessLine);
    refused(&unended, Malformed::EndlessLine);
    let mut late = unended[..LONGEST_LINE - 1].to_vec();
    late.extend(b"\r\n");
    refused(&late, Malformed::EndlessLine);
}

#[test]
fn a_binary_header_names_its_source() {
    whole(&v2(0x21, 0x11, &BLOCK_V4), source("192.0.2.7:56324"));
    whole(&v2(0x21, 0x21, &block_v6("2001:db8::7")), source("[2001:db8::7]:56324"));
    whole(&v2(0x21, 0x21, &block_v6("::ffff:192.0.2.7")), source("[::ffff:192.0.2.7]:56324"));
}

#[test]
fn what_follows_the_addresses_in_a_binary_header_is_skipped() {
    // A no-op, then a vector that claims more than is there: neither is looked at.
    let vectors = [4, 0, 3, 0, 0, 0, 0x20, 0xff, 0xff, 1];
    whole(&v2(0x21, 0x11, &[&BLOCK_V4[..], &vectors].concat()), source("192.0.2.7:56324"));
    let block = [&block_v6("2001:db8::7")[..], &vectors].concat();
    whole(&v2(0x21, 0x21, &block), source("[2001:db8::7]:56324"));
    let full = [&BLOCK_V4[..], &[0xee; LONGEST - FIXED - 12]].concat();
    whole(&v2(0x21, 0x11, &full), source("192.0.2.7:56324"));
}

#[test]
fn a_binary_header_without_an_address_for_http_is_skipped_whole() {
    let unix = [b'/'; 216];
    for family in [0x00, 0x01, 0x02, 0x10, 0x12, 0x20, 0x22, 0x30, 0x31, 0x32] {
        for block in [&[][..], &BLOCK_V4, &unix] {
            whole(&v2(0x21, family, block), None);
        }
    }
    for family in 0..=0xff {
        for block in [&[][..], &[1], &BLOCK_V4] {
            whole(&v2(0x20, family, block), None);
        }
    }
}

#[test]
fn unassigned_versions_commands_and_families_are_refused_at_once() {
    for command in (0..=0xff).filter(|command| !matches!(command, 0x20 | 0x21)) {
        // The block is still to come: its sender learns of the refusal as soon as it can.
        refused(&v2(command, 0x11, &BLOCK_V4)[..FIXED], Malformed::Command);
    }
    for family in (0..=0xff).filter(|family| family >> 4 > 3 || family & 0xf > 2) {
        refused(&v2(0x21, family, &BLOCK_V4)[..FIXED], Malformed::Family);
    }
}

#[test]
fn a_length_that_the_addresses_do_not_fit_in_or_that_is_too_long_is_refused() {
    for length in 0..12 {
        refused(&v2(0x21, 0x11, &BLOCK_V4[..length]), Malformed::Length);
    }
    for length in 0..36 {
        refused(&v2(0x21, 0x21, &block_v6("::1")[..length]), Malformed::Length);
    }
    let longest = LONGEST - FIXED;
    for length in [longest + 1, 0xffff] {
        for command in [0x20, 0x21] {
            let header = v2(command, 0x11, &vec![0; length]);
            refused(&header[..FIXED], Malformed::Length);
            refused(&header, Malformed::Length);
        }
    }
}

#[test]
fn what_begins_otherwise_is_refused_at_its_first_wrong_byte() {
    for start in [SIGNATURE, LINE_START] {
        for at in 0..start.len() {
            let mut wrong = start[..=at].to_vec();
            wrong[at] ^= 1;
            refused(&wrong, Malformed::Signature);
        }
    }
    for other in ["GET / HTTP/1.1\r\n", "\x16\x03\x01", "proxy TCP4 ", "PRI * HTTP/2.0\r\n"] {
        refused(other.as_bytes(), Malformed::Signature);
    }
}

/// What is likely to reach the parser's depths.
fn likely() -> impl Strategy<Value = Vec<u8>> {
    let random = || proptest::collection::vec(any::<u8>(), 0..300);
    let line = "PROXY (TCP4|TCP6|UNKNOWN)( [0-9a-f:.]{1,45}){0,3}( [0-9]{1,6}){0,3}[ \r\n]{0,3}";
    prop_oneof![
        random(),
        line.prop_map(String::into_bytes),
        random().prop_map(|rest| [LINE_START, &rest].concat()),
        random().prop_map(|rest| [&SIGNATURE[..], &rest].concat()),
        (0x1f..=0x22_u8, any::<u8>(), random())
            .prop_map(|(command, family, block)| v2(command, family, &block)),
        (0x20..=0x21_u8, any::<[u8; 3]>(), random()).prop_map(|(command, fixed, rest)| {
            [&SIGNATURE[..], &[command], &fixed, &rest].concat()
        }),
    ]
}

proptest! {
    /// Once whole or refused, nothing that follows changes the verdict, however it is cut.
    #[test]
    fn any_bytes_get_one_verdict_that_more_bytes_do_not_change(bytes in likely()) {
        let mut verdict = None;
        for end in 0..=bytes.len() {
            let now = parse(&bytes[..end]);
            if let Ok(Some(header)) = now {
                prop_assert!(header.length <= end);
            }
            match verdict {
                None if now == Ok(None) => {}
                None => verdict = Some(now),
                Some(before) => prop_assert_eq!(before, now, "at {}", end),
            }
        }
    }

    #[test]
    fn reading_always_comes_to_an_end(start in likely(), filler: u8) {
        let mut bytes = start;
        bytes.resize(LONGEST, filler);
        prop_assert_ne!(parse(&bytes), Ok(None));
    }

    #[test]
    fn every_address_is_read_as_it_was_written(
        source: SocketAddr, other: (std::net::Ipv4Addr, std::net::Ipv6Addr), port: u16,
    ) {
        let (family, destination, block) = match source.ip() {
            IpAddr::V4(ip) => {
                ("TCP4", IpAddr::V4(other.0), [ip.octets(), other.0.octets()].concat())
            }
            IpAddr::V6(ip) => {
                ("TCP6", IpAddr::V6(other.1), [ip.octets(), other.1.octets()].concat())
            }
        };
        let expected = SocketAddr::new(source.ip(), source.port());
        let line =
            format!("PROXY {family} {} {destination} {} {port}\r\n", source.ip(), source.port());
        whole(line.as_bytes(), expected);
        let ports = [source.port().to_be_bytes(), port.to_be_bytes()].concat();
        let number = if source.is_ipv4() { 0x11 } else { 0x21 };
        whole(&v2(0x21, number, &[block, ports].concat()), expected);
    }
}
