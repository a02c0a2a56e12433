//! The faults of HTTP/2 apps.

use super::{Kind, Row, judge, judge_in, late, malformed, served_and_left, terminated};
use crate::support::fault_http2::{Asked, Fault, Then, half, head, whole};
use crate::support::frames::{
    CANCEL, DATA, END_STREAM, HEADERS, NO_ERROR, REFUSED_STREAM, block, frame, goaway, reset,
};
use crate::support::load::Outcome::{Broken, Own};

const NONE: Fault = Fault::NONE;

/// Answers with these frames, and does this then.
fn says(answer: fn(&Asked) -> Vec<u8>, then: Then) -> Kind {
    Kind::Http2(Fault { answer, then, ..NONE })
}

/// The same on each connection's second request.
fn kept(kind: Kind) -> Kind {
    let Kind::Http2(fault) = kind else { return kind };
    Kind::Http2(Fault { kept: true, ..fault })
}

#[test]
fn an_http2_app_that_ends_within_an_exchange_costs_that_request_alone() {
    use Then::{Close, Next, Reset};
    let nothing: fn(&Asked) -> Vec<u8> = |_| Vec::new();
    let broken = || vec![(Broken, 1..=1)];
    judge(&[
        // With the first request of a connection it is the app that fails: nothing is tried again.
        Row {
            name: "closes",
            kind: says(nothing, Close),
            get: vec![(terminated(), 1..=1)],
            post: vec![(terminated(), 1..=1)],
        },
        Row {
            name: "resets",
            kind: says(nothing, Reset),
            get: vec![(terminated(), 1..=1)],
            post: vec![(terminated(), 1..=1)],
        },
        Row {
            name: "closes-kept",
            kind: kept(says(nothing, Close)),
            get: vec![(Own, 2..=2), (Own, 1..=1)],
            post: vec![(terminated(), 1..=1), (Own, 1..=1)],
        },
        Row::new(
            "resets-stream",
            says(|a| reset(a.stream, CANCEL), Next),
            vec![(terminated(), 1..=1)],
        ),
        Row::new(
            "refuses-stream",
            says(|a| reset(a.stream, REFUSED_STREAM), Next),
            vec![(terminated(), 1..=1)],
        ),
        Row::new("head-closes", says(|a| head(a, Some(9)), Close), broken()),
        Row::new("head-resets", says(|a| head(a, Some(9)), Reset), broken()),
        Row::new("half-closes", says(half, Close), broken()),
        Row::new("half-resets", says(half, Reset), broken()),
        Row::new(
            "half-resets-stream",
            says(|a| [half(a), reset(a.stream, CANCEL)].concat(), Next),
            broken(),
        ),
        // A reset without an error is no end.
        Row::new(
            "half-resets-stream-kindly",
            says(|a| [half(a), reset(a.stream, NO_ERROR)].concat(), Next),
            broken(),
        ),
        Row::new(
            "half-goes-away",
            says(|a| [half(a), goaway(a.stream, NO_ERROR)].concat(), Close),
            broken(),
        ),
        Row::new(
            "whole-goes-away",
            says(|a| [whole(a), goaway(a.stream, NO_ERROR)].concat(), Close),
            vec![(Own, 1..=1)],
        ),
        served_and_left("whole-closes", says(whole, Close)),
    ]);
}

#[test]
fn an_http2_app_that_stalls_costs_that_request_alone_and_no_more_than_the_time_it_has() {
    let next = |answer| says(answer, Then::Next);
    judge_in(
        1,
        &[
            Row::new("never-answers", next(|_| Vec::new()), vec![(late(), 1..=1)]),
            Row::new("stalls-after-head", next(|a| head(a, Some(9))), vec![(Broken, 1..=1)]),
            Row::new("stalls-in-body", next(half), vec![(Broken, 1..=1)]),
            Row::new("slow", Kind::Http2(Fault { slowly: true, ..NONE }), vec![(Own, 1..=1)]),
        ],
    );
}

/// The head of an answer that is so much longer, or shorter, than what follows.
fn off_by(asked: &Asked, difference: isize) -> Vec<u8> {
    let length = asked.body.len().checked_add_signed(difference).unwrap();
    let data = frame(DATA, END_STREAM, asked.stream, &asked.body);
    [head(asked, Some(length)), data].concat()
}

#[test]
fn an_http2_app_that_breaks_the_rules_costs_what_is_on_its_connection_alone() {
    use Then::Next;
    judge(&[
        Row::new("longer", says(|a| off_by(a, -3), Next), vec![(Broken, 1..=1)]),
        Row::new("shorter", says(|a| off_by(a, 3), Next), vec![(Broken, 1..=1)]),
        Row::new(
            "content-after-the-end",
            says(|a| [whole(a), frame(DATA, 0, a.stream, "more")].concat(), Next),
            vec![(Own, 1..=1)],
        ),
        Row::new(
            "no-status",
            says(|a| frame(HEADERS, 4 | END_STREAM, a.stream, block(&[("x", "y")])), Next),
            vec![(malformed(), 1..=1)],
        ),
        // The frame that is too large ends the connection.
        Row {
            name: "huge-frame",
            kind: says(|a| [&[0xff, 0xff, 0xff, 0, 0][..], &a.stream.to_be_bytes()].concat(), Next),
            get: vec![(terminated(), 1..=1)],
            post: vec![(terminated(), 1..=1)],
        },
    ]);
}

#[test]
fn an_http2_app_that_answers_before_the_upload_has_ended_is_heard() {
    let early = |answer, then| Kind::Http2(Fault { early: true, answer, then, ..NONE });
    judge(&[
        Row::new("early", early(whole, Then::Next), vec![(Own, 1..=1)]),
        // RFC 9113 section 8.1: the rest of the request is not wanted.
        Row::new(
            "early-resets-stream",
            early(|a| [whole(a), reset(a.stream, NO_ERROR)].concat(), Then::Next),
            vec![(Own, 1..=1)],
        ),
        served_and_left("early-closes", early(whole, Then::Close)),
        served_and_left("early-resets", early(whole, Then::Reset)),
    ]);
}
