//! Keeps the house as it is drawn: reads `src/` and fails when an arrow points
//! up, a file grows beyond reading, or a dependency gets a second door.
//!
//! Every large one-crate proxy that we looked at had tied its modules into a
//! knot that nobody had seen coming. This test sees it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::fs;
use std::path::{Path, PathBuf};

/// From the top of the house to its ground. A module may use those after it,
/// never one before it or beside it.
const FLOORS: &[&[&str]] = &[
    &["main"],
    &["cli"],
    &["dev", "top"],
    &["app"],
    &["admin", "discovery"],
    &["worker"],
    &["listener"],
    &["gateway"],
    &["upstream"],
    &["http2"],
    &["http1"],
    &["message"],
    &["body"],
    &["fields", "rate_limit", "telemetry"],
    &["config"],
    &["error"],
    &["takeover"],
    &["ids", "clock", "io", "shutdown", "inherited", "supervisor"],
];

/// One dependency, one door: who may name a crate, and why only there.
const DOORS: &[(&str, &[&str], &str)] = &[
    ("hyper::", OWN_HTTP, "the data path has its own HTTP/1.1"),
    ("hyper_util::", OWN_HTTP, "the data path has its own HTTP/1.1"),
    ("hyper_rustls::", &["telemetry/trace"], "only a collector is called over TLS"),
    ("opentelemetry_proto::", &["telemetry/trace"], "one place where spans are made"),
    ("prost::", &["telemetry/trace"], "one place where spans are made"),
    ("axum::", &["admin", "dev"], "a framework has no place on the data path"),
    ("dashmap::", &["gateway/routes"], "the route table alone decides how hosts are kept"),
    ("httparse::", &["http1"], "one parser, one place where its errors are judged"),
    ("ratatui::", &["top"], "one live view"),
    ("clap::", &["cli"], "arguments are read at the border"),
    ("rustls::", &["listener/tls"], "one place where keys, versions and sessions are decided"),
    ("rcgen::", &["dev"], "only a laptop needs certificates that nobody issued"),
    ("x509_cert::", &["listener/tls"], "what certificates say is read where they are used"),
    ("listenfd::", &["inherited"], "descriptors come out of the environment in one place"),
    ("notify::", &["config/reload"], "one watcher of files"),
    ("mio::", &["worker/idle"], "sockets are tokio's as long as anything happens on them"),
];

/// Who may use hyper: nobody on the data path.
const OWN_HTTP: &[&str] = &["upstream/health", "dev", "admin", "telemetry/trace", "top"];

/// Lines of a file without its tests.
const LONGEST: usize = 400;

struct Source {
    path: PathBuf,
    name: String,
    text: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).unwrap().with_extension("");
                let name = name.to_str().unwrap().to_owned();
                let text = fs::read_to_string(&path).unwrap();
                sources.push(Source { path, name, text });
            }
        }
    }
    assert!(sources.len() > 40, "the sources were not found");
    sources
}

fn is_test(name: &str) -> bool {
    name.ends_with("/tests")
}

/// The code without its tests and comments, line by line with numbers.
fn code(text: &str) -> Vec<(usize, &str)> {
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.starts_with("#[cfg(test)]") {
            break;
        }
        if !line.trim_start().starts_with("//") {
            lines.push((index + 1, line));
        }
    }
    lines
}

/// The top-level modules that a line of code names.
fn modules(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (at, _) in line.match_indices("crate::") {
        let rest = &line[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let group = group.split('}').next().unwrap_or_default();
            found.extend(group.split(',').map(|part| first_word(part.trim())));
        } else {
            found.push(first_word(rest));
        }
    }
    found.retain(|module| !module.is_empty());
    found
}

fn first_word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// What is wrong with one line of a module's code.
fn wrong_arrow(own: &str, line: &str) -> Option<String> {
    let own_floor = floor(own).unwrap_or_else(|| panic!("`{own}` has no floor in this test"));
    modules(line).into_iter().filter(|module| *module != own).find_map(|module| {
        let below = floor(module).is_some_and(|floor| floor > own_floor);
        (!below).then(|| format!("`{own}` must not use `{module}`"))
    })
}

fn report(found: &[String]) {
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn arrows_point_down() {
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| source.name != "lib" && !is_test(&source.name)) {
        let own = source.name.split('/').next().unwrap();
        for (number, line) in code(&source.text) {
            if let Some(wrong) = wrong_arrow(own, line) {
                found.push(format!("{}:{number}: {wrong}", source.path.display()));
            }
        }
    }
    report(&found);
}

#[test]
fn every_dependency_has_one_door() {
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| !is_test(&source.name)) {
        for (number, line) in code(&source.text) {
            for (krate, doors, why) in DOORS {
                let named = line.match_indices(krate).any(|(at, _)| {
                    let before = line[..at].chars().next_back();
                    !before.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
                });
                let allowed = doors.iter().any(|door| {
                    source.name == *door || source.name.starts_with(&format!("{door}/"))
                });
                if named && !allowed {
                    let place = format!("{}:{number}", source.path.display());
                    found.push(format!("{place}: `{krate}` belongs into {doors:?}: {why}"));
                }
            }
        }
    }
    report(&found);
}

#[test]
fn files_open_with_their_purpose_and_stay_readable() {
    let mut found = Vec::new();
    for source in sources() {
        let path = source.path.display();
        if source.name.ends_with("/mod") {
            found.push(format!("{path}: write `foo.rs` beside `foo/`"));
        }
        if is_test(&source.name) {
            continue;
        }
        if !source.text.starts_with("//! ") {
            found.push(format!("{path}: opens with what it is for (`//!`)"));
        }
        let tests = source.text.lines().position(|line| line.starts_with("#[cfg(test)]"));
        let lines = tests.unwrap_or_else(|| source.text.lines().count());
        if lines > LONGEST {
            found.push(format!("{path}: {lines} lines; more than {LONGEST} are two subjects"));
        }
        for (number, line) in source.text.lines().enumerate() {
            let bare = |mark: &str| line.contains(mark) && !line.contains(&format!("{mark}: "));
            if bare("TODO") || bare("FIXME") {
                found.push(format!("{path}:{}: say why it is not done", number + 1));
            }
        }
    }
    report(&found);
}

#[test]
fn this_test_would_see_a_wrong_arrow() {
    assert!(wrong_arrow("upstream", "use crate::gateway::Gateway;").is_some());
    assert!(wrong_arrow("error", "    let x = crate::body::Body::empty();").is_some());
    assert!(wrong_arrow("ids", "use crate::{clock, io};").is_some());
    assert!(wrong_arrow("gateway", "use crate::upstream::{app, pool};").is_none());
    assert!(wrong_arrow("gateway", "use crate::gateway::host;").is_none());
    assert_eq!(code("a\n// crate::cli\n#[cfg(test)]\nmod tests {}"), [(1, "a")]);
}

/// The names of tests that a text holds in the last column of its tables.
fn named_tests(text: &str) -> Vec<&str> {
    let rows = text.lines().filter(|line| line.starts_with("| "));
    let columns = rows.filter_map(|row| row.strip_suffix(" |")?.rsplit_once(" | "));
    let quoted = columns.flat_map(|(_, tests)| tests.split('`').skip(1).step_by(2));
    quoted.map(|path| path.rsplit("::").next().unwrap_or(path)).collect()
}

/// Every file of Rust below a folder.
fn rust_files(folder: &Path, texts: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            rust_files(&path, texts);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            texts.push(fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn every_promise_of_security_md_is_held_by_a_test_that_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let security = fs::read_to_string(root.join("SECURITY.md")).unwrap();
    let (_, promises) = security.split_once("<!-- promises -->").unwrap();
    let named = named_tests(promises);
    assert!(named.len() > 50, "the tables were not found");
    let mut texts = Vec::new();
    rust_files(&root.join("src"), &mut texts);
    rust_files(&root.join("tests"), &mut texts);
    let is_there = |name: &str| {
        let test = format!("fn {name}()");
        texts.iter().any(|text| text.contains(&test))
    };
    let gone: Vec<String> = named
        .into_iter()
        .filter(|name| !is_there(name))
        .map(|name| format!("SECURITY.md: no test is called `{name}`"))
        .collect();
    report(&gone);
    assert!(!is_there(&["no_such", "test_at_all"].join("_")), "anything is found");
}
