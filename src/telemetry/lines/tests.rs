//! Batches arrive whole and in order; a reader that does not read costs nobody
//! but itself.

#![allow(clippy::unwrap_used)]

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::*;

/// A writer whose reader takes one write at a time.
struct Pipe(SyncSender<Vec<u8>>);

impl Write for Pipe {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.send(text.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn pipe() -> (Lines, Receiver<Vec<u8>>) {
    let (sender, receiver) = sync_channel(0);
    (Lines::start(Pipe(sender)).unwrap(), receiver)
}

#[test]
fn what_was_handed_over_is_written_in_order_before_the_end() {
    let (lines, reader) = pipe();
    let read = thread::spawn(move || reader.iter().collect::<Vec<_>>().concat());
    let mut expected = Vec::new();
    for number in 0..1000 {
        let mut text = format!("line {number}\n").into_bytes();
        expected.extend_from_slice(&text);
        lines.hand_over(&mut text, 1);
        assert!(text.is_empty());
    }
    lines.finish();
    assert_eq!(read.join().unwrap(), expected);
    assert_eq!(lines.dropped(), 0);
}

#[test]
fn beyond_the_bound_lines_are_dropped_and_counted_and_nobody_waits() {
    let (lines, reader) = pipe();
    let line = vec![b'x'; 1 << 20];
    let fits = MOST / line.len();
    for _ in 0..fits + 3 {
        lines.hand_over(&mut line.clone(), 5);
    }
    assert_eq!(lines.dropped(), 15);
    let read = thread::spawn(move || reader.iter().map(|text| text.len()).sum::<usize>());
    lines.finish();
    assert_eq!(read.join().unwrap(), MOST);
    // It is over: whatever still comes is lost, and told.
    lines.hand_over(&mut line.clone(), 2);
    assert_eq!(lines.dropped(), 17);
}

#[test]
fn lines_that_cannot_be_written_are_counted() {
    let (lines, reader) = pipe();
    drop(reader);
    lines.hand_over(&mut b"one\ntwo\n".to_vec(), 2);
    lines.finish();
    assert_eq!(lines.dropped(), 2);
}

#[test]
fn without_a_destination_lines_vanish() {
    let mut text = b"one\n".to_vec();
    Lines::default().hand_over(&mut text, 1);
    assert!(text.is_empty());
    Lines::default().finish();
}
