//! Lines out of any bytes in any pieces; nothing harmful onto a terminal.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use proptest::prelude::*;

use super::*;

fn lines_of<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
    let mut lines = Lines::default();
    let mut all = Vec::new();
    for piece in pieces {
        lines.push(piece, |line| all.push(line.to_owned()));
        assert!(lines.held.len() < MAX_LINE);
    }
    lines.finish(|line| all.push(line.to_owned()));
    all
}

#[test]
fn lines_lose_their_ends_and_the_last_needs_none() {
    assert_eq!(lines_of([&b"a\nb\r\n\nc"[..]]), ["a", "b", "", "c"]);
    assert_eq!(lines_of([&b"a\n"[..]]), ["a"]);
    assert_eq!(lines_of([&b"bad \xff byte\n"[..]]), ["bad \u{fffd} byte"]);
    assert!(lines_of([&b""[..]]).is_empty());
}

#[test]
fn a_very_long_line_comes_in_pieces_that_keep_characters_whole() {
    let line = "x".repeat(MAX_LINE - 1) + "é" + &"y".repeat(MAX_LINE);
    let pieces = lines_of([line.as_bytes(), b"\nnext\n"]);
    assert_eq!(pieces.len(), 4);
    assert_eq!(pieces[0], "x".repeat(MAX_LINE - 1));
    assert!(pieces[1].starts_with("éyyy"));
    assert_eq!(pieces[..3].concat(), line);
    assert_eq!(pieces[3], "next");
}

#[test]
fn a_line_of_exactly_the_limit_is_one_line() {
    let line = "x".repeat(MAX_LINE);
    assert_eq!(lines_of([line.as_bytes(), b"\r\n\nz"]), [&line, "", "z"]);
}

proptest! {
    #[test]
    fn how_the_bytes_arrive_does_not_change_the_lines(
        pieces in proptest::collection::vec(
            prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..50),
                "[a-zé\r\n]{0,30}".prop_map(String::into_bytes),
                (0..200_000_usize).prop_map(|n| vec![0xc3; n]),
            ],
            0..8,
        ),
    ) {
        let whole = pieces.concat();
        let split = lines_of(pieces.iter().map(Vec::as_slice));
        prop_assert_eq!(&split, &lines_of([whole.as_slice()]));
        if whole.len() < MAX_LINE {
            let text = String::from_utf8_lossy(&whole).into_owned();
            let mut expected: Vec<_> = text.split('\n').map(|l| l.strip_suffix('\r').unwrap_or(l)).collect();
            if text.is_empty() || text.ends_with('\n') {
                expected.pop();
            }
            prop_assert_eq!(split, expected);
        }
    }

    #[test]
    fn nothing_but_colours_reaches_the_terminal(
        line in proptest::string::string_regex("[ -~\t\u{1b}\u{7}\u{9b}\r\\[;0-9mHJ]{0,60}").unwrap()
    ) {
        let shown = harmless(&line);
        let mut rest = &*shown;
        while let Some(at) = rest.find(|c: char| c.is_control() && c != '\t') {
            let length = colour_sequence(&rest[at..]);
            prop_assert!(length.is_some(), "{:?} became {:?}", line, shown);
            rest = &rest[at + length.unwrap()..];
        }
    }
}

#[test]
fn control_bytes_become_pictures_and_colours_end_with_the_line() {
    assert_eq!(harmless("plain\ttext é"), "plain\ttext é");
    assert_eq!(harmless("\x1b[2J\x07\r\x7f\u{9b}"), "␛[2J␇␍␡\u{fffd}");
    assert_eq!(harmless("\x1b[1;31mred"), "\x1b[1;31mred\x1b[0m");
    assert_eq!(harmless("\x1b]0;title\x07"), "␛]0;title␇");
    assert_eq!(harmless("\x1b[31"), "␛[31");
    assert_eq!(harmless("\x1b[m"), "\x1b[m\x1b[0m");
}

#[test]
fn a_line_stands_behind_the_name_of_its_app() {
    assert_eq!(rendered("hello", Stream::Stdout, "hi", false), "hello | hi\n");
    assert_eq!(rendered("hello", Stream::Stderr, "hi", true), "\x1b[33mhello |\x1b[0m hi\n");
    assert_eq!(rendered("hello", Stream::Stdout, "hi", true), "\x1b[36mhello |\x1b[0m hi\n");
}

#[tokio::test]
async fn all_that_is_read_reaches_the_sink() {
    let (sender, mut received) = tokio::sync::mpsc::unbounded_channel();
    let sink: Sink = Arc::new(move |stream, line| sender.send((stream, line.to_owned())).unwrap());
    relay(&b"one\ntwo"[..], Stream::Stderr, sink).await;
    assert_eq!(received.recv().await.unwrap(), (Stream::Stderr, "one".to_owned()));
    assert_eq!(received.recv().await.unwrap(), (Stream::Stderr, "two".to_owned()));
    assert!(received.recv().await.is_none());
}
