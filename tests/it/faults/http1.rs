//! The faults of HTTP/1.1 apps.

use super::{Kind, Row, judge, judge_in, late, malformed, problem, served_and_left, terminated};
use crate::support::fault::{Bytes, Fault, Reads, Then, Until, by_length, chunked, with_fields};
use crate::support::load::Outcome::{Broken, Own, Short};
use crate::support::load::answer;

const NONE: Fault = Fault::NONE;

/// Ends after so much of an answer of a declared length.
fn stops(until: Until, then: Then) -> Kind {
    Kind::Http1(Fault { until, then, ..NONE })
}

/// Ends after so much of a chunked answer.
fn stops_chunked(until: Until, then: Then) -> Kind {
    Kind::Http1(Fault { answer: chunked, until, then, ..NONE })
}

/// Ends after so much of a request.
fn reads(reads: Reads, then: Then) -> Kind {
    Kind::Http1(Fault { reads, until: Until::Nothing, then, ..NONE })
}

/// Answers in this way, and does this then.
fn says(answer: Bytes, then: Then) -> Kind {
    Kind::Http1(Fault { answer, then, ..NONE })
}

/// The same on each connection's second request.
fn kept(kind: Kind) -> Kind {
    let Kind::Http1(fault) = kind else { return kind };
    Kind::Http1(Fault { kept: true, ..fault })
}

#[test]
fn an_app_that_ends_within_a_request_costs_that_request_alone() {
    let head = Reads::Head;
    judge(&[
        Row::new("refuses", Kind::Refuses, vec![(problem(502, "connection_refused"), 0..=0)]),
        Row::new("closes-at-0", reads(Reads::Bytes(0), Then::Close), vec![(terminated(), 0..=0)]),
        Row::new("resets-at-1", reads(Reads::Bytes(1), Then::Reset), vec![(terminated(), 0..=0)]),
        Row::new("closes-at-20", reads(Reads::Bytes(20), Then::Close), vec![(terminated(), 0..=0)]),
        Row::new("resets-at-20", reads(Reads::Bytes(20), Then::Reset), vec![(terminated(), 0..=0)]),
        Row::new("closes-at-head", reads(head, Then::Close), vec![(terminated(), 1..=1)]),
        Row::new("resets-at-head", reads(head, Then::Reset), vec![(terminated(), 1..=1)]),
        // What no byte answered, on a connection that was kept, may be asked again if it is a GET.
        Row {
            name: "resets-at-20-kept",
            kind: kept(reads(Reads::Bytes(20), Then::Reset)),
            get: vec![(Own, 1..=1)],
            post: vec![(terminated(), 0..=0), (Own, 1..=1)],
        },
        Row {
            name: "resets-at-head-kept",
            kind: kept(reads(head, Then::Reset)),
            get: vec![(Own, 2..=2), (Own, 1..=1)],
            post: vec![(terminated(), 1..=1), (Own, 1..=1)],
        },
        served_and_left("closes-when-idle", kept(reads(Reads::Bytes(0), Then::Close))),
    ]);
}

#[test]
fn an_app_that_stops_within_its_answer_costs_that_request_alone() {
    use Then::{Close, Reset};
    use Until::{Body, Head, HeadEnd, LastByte, Nothing, StatusLine};
    let broken = || vec![(Broken, 1..=1)];
    let no_head = || vec![(malformed(), 1..=1)];
    let cut = || vec![(terminated(), 1..=1)];
    judge(&[
        Row::new("closes", stops(Nothing, Close), cut()),
        Row::new("resets", stops(Nothing, Reset), cut()),
        Row::new("closes-in-line", stops(StatusLine, Close), no_head()),
        Row::new("resets-in-line", stops(StatusLine, Reset), cut()),
        Row::new("closes-in-head", stops(Head, Close), no_head()),
        Row::new("resets-in-head", stops(Head, Reset), cut()),
        Row::new("closes-after-head", stops(HeadEnd, Close), broken()),
        Row::new("resets-after-head", stops(HeadEnd, Reset), broken()),
        Row::new("closes-in-body", stops(Body, Close), broken()),
        Row::new("resets-in-body", stops(Body, Reset), broken()),
        Row::new("closes-at-last", stops(LastByte, Close), broken()),
        Row::new("resets-at-last", stops(LastByte, Reset), broken()),
        Row::new("closes-in-chunk", stops_chunked(Body, Close), broken()),
        Row::new("resets-in-chunk", stops_chunked(Body, Reset), broken()),
        Row::new("closes-in-last-chunk", stops_chunked(LastByte, Close), broken()),
        served_and_left("closes-after-all", stops(Until::End, Close)),
        Row {
            name: "closes-kept",
            kind: kept(stops(Nothing, Close)),
            get: vec![(Own, 2..=2), (Own, 1..=1)],
            post: vec![(terminated(), 1..=1), (Own, 1..=1)],
        },
        // A byte of an answer came: nothing is sent again.
        Row::new(
            "closes-in-line-kept",
            kept(stops(StatusLine, Close)),
            vec![(malformed(), 1..=1), (Own, 1..=1)],
        ),
        Row::new(
            "resets-in-body-kept",
            kept(stops(Body, Reset)),
            vec![(Broken, 1..=1), (Own, 1..=1)],
        ),
    ]);
}

#[test]
fn an_app_that_stalls_costs_that_request_alone_and_no_more_than_the_time_it_has() {
    use Then::Stall;
    let broken = || vec![(Broken, 1..=1)];
    judge_in(
        1,
        &[
            Row::new("never-reads", reads(Reads::Bytes(0), Stall), vec![(late(), 0..=0)]),
            Row::new("stalls-at-head", reads(Reads::Head, Stall), vec![(late(), 1..=1)]),
            Row::new("never-answers", stops(Until::Nothing, Stall), vec![(late(), 1..=1)]),
            Row::new("stalls-in-line", stops(Until::StatusLine, Stall), vec![(late(), 1..=1)]),
            Row::new("stalls-in-head", stops(Until::Head, Stall), vec![(late(), 1..=1)]),
            Row::new("stalls-after-head", stops(Until::HeadEnd, Stall), broken()),
            Row::new("stalls-in-body", stops(Until::Body, Stall), broken()),
            Row::new("stalls-at-last", stops(Until::LastByte, Stall), broken()),
            Row::new("shorter-stalls", says(|h, id| off_by(3, h, id), Stall), broken()),
            Row::new("stalls-in-chunk", stops_chunked(Until::Body, Stall), broken()),
            Row::new("stalls-in-last-chunk", stops_chunked(Until::LastByte, Stall), broken()),
            Row::new(
                "stalls-kept",
                kept(stops(Until::Nothing, Stall)),
                vec![(late(), 1..=1), (Own, 1..=1)],
            ),
            Row::new("slow", Kind::Http1(Fault { slowly: true, ..NONE }), vec![(Own, 1..=1)]),
            Row::new(
                "slow-chunks",
                Kind::Http1(Fault { slowly: true, answer: chunked, ..NONE }),
                vec![(Own, 1..=1)],
            ),
        ],
    );
}

/// An answer that declares a length of so many bytes more, or less, than it has.
fn off_by(difference: isize, host: &str, id: u64) -> Vec<u8> {
    let body = answer(host, id);
    let length = body.len().checked_add_signed(difference).unwrap();
    with_fields(&format!("Content-Length: {length}\r\n"), id, &body)
}

fn both_framings(host: &str, id: u64) -> Vec<u8> {
    let body = answer(host, id);
    let fields = format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", body.len());
    with_fields(&fields, id, &body)
}

fn two_lengths(host: &str, id: u64) -> Vec<u8> {
    let body = answer(host, id);
    let length = body.len();
    let fields = format!("Content-Length: {length}\r\nContent-Length: {}\r\n", length + 1);
    with_fields(&fields, id, &body)
}

/// A right chunk, and then what is none.
fn bad_chunk(bad: &str, host: &str, id: u64) -> Vec<u8> {
    let body = answer(host, id);
    let good = format!("{:x}\r\n{}\r\n", body.len(), String::from_utf8_lossy(&body));
    with_fields("Transfer-Encoding: chunked\r\n", id, format!("{good}{bad}").as_bytes())
}

/// A chunk that goes on where its end should be.
fn unended_chunk(host: &str, id: u64) -> Vec<u8> {
    let body = answer(host, id);
    let (chunk, beyond) = body.split_at(body.len() / 2);
    let size = format!("{:x}\r\n", chunk.len());
    with_fields("Transfer-Encoding: chunked\r\n", id, &[size.as_bytes(), chunk, beyond].concat())
}

/// A whole answer, and one to nobody behind it.
fn and_another(host: &str, id: u64) -> Vec<u8> {
    [by_length(host, id), by_length(host, u64::MAX)].concat()
}

#[test]
fn an_app_that_lies_about_its_answers_end_costs_that_request_alone() {
    use Then::{Close, Next};
    let broken = || vec![(Broken, 1..=1)];
    let no_http = || vec![(malformed(), 1..=1)];
    judge(&[
        // More than declared: what is beyond belongs to nobody.
        Row::new("longer", says(|host, id| off_by(-3, host, id), Next), vec![(Short(3), 1..=1)]),
        Row::new("longer-closes", says(|h, id| off_by(-3, h, id), Close), vec![(Short(3), 1..=1)]),
        Row::new("shorter-closes", says(|h, id| off_by(3, h, id), Close), broken()),
        Row::new("extra-answer", says(and_another, Next), vec![(Own, 1..=1)]),
        Row::new("both-framings", says(both_framings, Next), no_http()),
        Row::new("two-lengths", says(two_lengths, Next), no_http()),
        Row::new(
            "negative-length",
            says(|_, id| with_fields("Content-Length: -1\r\n", id, b""), Next),
            no_http(),
        ),
        Row::new(
            "garbage",
            says(|_, _| b"\x00\x01\x02 nonsense\r\n\r\n".to_vec(), Next),
            no_http(),
        ),
        Row::new("garbage-chunk", says(|h, id| bad_chunk("xyz\r\nmore", h, id), Next), broken()),
        Row::new("negative-chunk", says(|h, id| bad_chunk("-1\r\nmore", h, id), Next), broken()),
        Row::new(
            "huge-chunk",
            says(|h, id| bad_chunk("fffffffffffffffff\r\nmore", h, id), Next),
            broken(),
        ),
        Row::new("unended-chunk", says(unended_chunk, Next), broken()),
        Row::new("no-last-chunk", says(|h, id| bad_chunk("", h, id), Close), broken()),
        Row::new(
            "bad-trailer",
            says(|h, id| bad_chunk("0\r\nno field\r\n\r\n", h, id), Next),
            broken(),
        ),
    ]);
}

#[test]
fn an_app_that_answers_before_the_upload_has_ended_is_heard() {
    let early = |then| Kind::Http1(Fault { reads: Reads::Head, then, ..NONE });
    judge_in(
        1,
        &[
            // All of a small request was sent, so the connection is kept, and the next stalls on it.
            Row::new("early-stalls", early(Then::Stall), vec![(Own, 1..=1), (late(), 0..=0)]),
            served_and_left("early-closes", early(Then::Close)),
            served_and_left("early-resets", early(Then::Reset)),
            served_and_left("early-resets-kept", kept(early(Then::Reset))),
        ],
    );
}
