//! The tables of `docs/access-log.md` against the lines, and against what the
//! tests beside this one provoke.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{File, apps, callers, gateways, protocols, request};
use crate::binary::access_lines;
use crate::support::{Caller, EchoHeads};

const TEXT: &str = include_str!("../../../docs/access-log.md");

/// What the tests beside this one promise to provoke, each for its own.
const PROVOKED: &[&[&str]] = &[
    callers::REFUSED,
    callers::LEFT,
    callers::TOO_OFTEN,
    apps::FAILED,
    gateways::FULL,
    gateways::TOO_MANY,
    gateways::ENDED,
    gateways::BUSY,
    gateways::WITHOUT_MEMORY,
    gateways::LATE,
    protocols::SWITCHED,
    protocols::STREAMS,
];

/// What nothing from outside can provoke, and why. `listener::panics` provokes it from within, by
/// a defect that exists in its tests alone, and looks at the line.
const UNPROVOKED: &[(&str, &str)] = &[("internal", "it takes a defect of the gateway")];

/// A row of the table of reasons.
struct Row {
    reason: &'static str,
    side: &'static str,
    status: &'static str,
}

/// The rows of the table of four columns.
fn reasons() -> impl Iterator<Item = Row> {
    let lines = TEXT.lines().filter(|line| line.starts_with("| `"));
    let cells = lines.map(|line| line.trim_matches('|').split(" | ").map(str::trim));
    cells.filter_map(|cells| match cells.collect::<Vec<_>>()[..] {
        // Its first row names the field.
        ["`error.type`", ..] => None,
        [reason, side, status, _] => Some(Row { reason: reason.trim_matches('`'), side, status }),
        _ => None,
    })
}

/// The words of the table of two columns that has this one.
fn words_beside(one: &str) -> BTreeSet<&'static str> {
    let mut tables = TEXT.split("\n\n").filter(|part| part.starts_with("| "));
    let table = tables.find(|table| table.contains(&format!("| `{one}` |"))).expect("a table");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| row.split('`').next().unwrap()).collect()
}

/// Asserts that a failed request's line says what the tables say of its reason.
#[track_caller]
pub fn assert_documented(line: &Value) {
    let reason = line["error.type"].as_str().expect("a reason");
    let row = reasons().find(|row| row.reason == reason);
    let row = row.unwrap_or_else(|| panic!("{reason} is in no table: {line:#}"));
    let (side, stage) = line["termination"].as_str().unwrap().split_once('.').unwrap();
    assert_eq!(side, row.side, "{line:#}");
    assert!(words_beside("caller").contains(side), "{side} is in no table");
    assert!(words_beside("tunnel").contains(stage), "{stage} is in no table");
    let status = &line["http.response.status_code"];
    // Behind a head that was sent, the status is the app's.
    if matches!(stage, "body" | "tunnel") {
        assert!(status.is_number(), "{line:#}");
    } else {
        let wanted = row.status.parse::<u16>().ok();
        assert_eq!(*status, Value::from(wanted), "the table has {}: {line:#}", row.status);
    }
}

#[test]
fn every_reason_of_the_table_is_provoked() {
    let documented: BTreeSet<_> = reasons().map(|row| row.reason).collect();
    assert!(documented.len() > 30, "the table is read: {documented:?}");
    let provoked: BTreeSet<_> = PROVOKED.concat().into_iter().collect();
    let unprovoked: BTreeSet<_> = UNPROVOKED.iter().map(|(reason, _)| *reason).collect();
    assert!(provoked.is_disjoint(&unprovoked), "it can be provoked, after all");
    let known: BTreeSet<_> = provoked.union(&unprovoked).copied().collect();
    assert_eq!(documented, known, "documented, and what is provoked or excused");
}

/// The words and names of the documentation are those of the lines.
#[test]
fn the_documentation_names_every_field_and_every_ending() {
    let app = EchoHeads::start();
    let serve = File::new("").app("hello", &[app.address()], "").serve();
    let mut caller = Caller::to(serve.address);
    caller.send(request("GET /a?b", "hello", ""));
    let _ = caller.read_response().expect(200);
    drop(caller);
    assert_eq!(serve.status("nobody"), 404);
    for line in access_lines(&serve.finish()) {
        for name in line.as_object().unwrap().keys() {
            assert!(TEXT.contains(&format!("| `{name}` |")), "{name} is not explained");
        }
    }
    let said = ignite_gateway::error::REASONS.iter().map(|(side, reason)| (*reason, side.as_str()));
    // What no failure has has no row.
    let said: BTreeSet<_> = said.filter(|(reason, _)| *reason != "other").collect();
    let documented: BTreeSet<_> = reasons().map(|row| (row.reason, row.side)).collect();
    assert_eq!(said, documented, "said by the gateway, and documented");
}
