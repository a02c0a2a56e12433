//! `config/observability/` and `docs/runbooks.md` against what is exported: a
//! query by a name or label that is not there is an alert that never fires.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::metrics::{OPEN, busy, scrape};
use crate::error::REASONS;

const ALERTS: &str = include_str!("../../../config/observability/alerts.yaml");
const DASHBOARD: &str = include_str!("../../../config/observability/grafana-dashboard.json");
const RUNBOOKS: &str = include_str!("../../../docs/runbooks.md");
const METRICS: &str = include_str!("../../../docs/metrics.md");

/// Labels that Prometheus adds to whatever it scrapes.
const SCRAPED: [&str; 2] = ["instance", "job"];
/// What Prometheus itself records of a scrape.
const UP: &str = "up";

/// Each sample's name, and its labels.
type Exported = BTreeMap<String, BTreeSet<String>>;

/// What a query names.
#[derive(Debug, Default)]
struct Query {
    /// Each metric with its matchers: label and value.
    metrics: Vec<(String, Vec<(String, String)>)>,
    /// Labels that results are grouped by.
    grouping: BTreeSet<String>,
}

async fn exported() -> Exported {
    let gateway = busy().await;
    let (_, found) = scrape(&gateway, OPEN).await;
    let mut exported = Exported::from([(UP.to_owned(), BTreeSet::new())]);
    for sample in found.0.iter().flat_map(|family| &family.samples) {
        let labels = exported.entry(sample.name.clone()).or_default();
        labels.extend(sample.labels.keys().cloned());
        labels.extend(SCRAPED.map(str::to_owned));
    }
    exported.entry(UP.to_owned()).or_default().extend(SCRAPED.map(str::to_owned));
    exported
}

/// The words of a query: names, signs, and what is quoted, with its quotes.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let end = match first {
            '"' => 2 + rest[1..].find('"').expect("a closing quote"),
            _ if is_word(first) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            _ => first.len_utf8(),
        };
        words.push(rest[..end].to_owned());
        rest = rest[end..].trim_start();
    }
    words
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | ':' | '.')
}

impl Query {
    fn parse(text: &str) -> Self {
        let words = words(text);
        let mut query = Self::default();
        let mut at = 0;
        let closing = |from: usize, sign: &str| {
            from + words[from..].iter().position(|word| word == sign).expect("a closing sign")
        };
        while let Some(word) = words.get(at) {
            let next = words.get(at + 1).map(String::as_str);
            match word.as_str() {
                "[" => at = closing(at, "]"),
                "by" | "without" | "on" | "ignoring" => {
                    let end = closing(at, ")");
                    let labels = words[at + 2..end].iter().filter(|word| *word != ",");
                    query.grouping.extend(labels.cloned());
                    at = end;
                }
                "and" | "or" | "unless" => {}
                // A function or an aggregation.
                _ if matches!(next, Some("(" | "by" | "without")) => {}
                name if name.starts_with(|c: char| c.is_ascii_lowercase()) => {
                    let mut matchers = Vec::new();
                    if next == Some("{") {
                        let end = closing(at, "}");
                        for matcher in words[at + 2..end].split(|word| word == ",") {
                            let [label, .., value] = matcher else { panic!("{text}") };
                            matchers.push((label.clone(), value.trim_matches('"').to_owned()));
                        }
                        at = end;
                    }
                    query.metrics.push((name.to_owned(), matchers));
                }
                _ => {}
            }
            at += 1;
        }
        assert!(!query.metrics.is_empty(), "no metric in: {text}");
        query
    }

    /// Panics if something that it names is not exported.
    fn check(&self, text: &str, exported: &Exported) {
        for (name, matchers) in &self.metrics {
            let labels = exported.get(name).unwrap_or_else(|| panic!("no `{name}`: {text}"));
            for (label, value) in matchers {
                assert!(labels.contains(label), "`{name}` has no `{label}`: {text}");
                if name == "ignite_gateway_failed_requests_total" && label == "reason" {
                    let is_known = |one: &str| REASONS.iter().any(|(_, reason)| *reason == one);
                    assert!(value.split('|').all(is_known), "{value}: {text}");
                }
            }
            for label in &self.grouping {
                assert!(labels.contains(label), "`{name}` has no `{label}`: {text}");
            }
            // A quantile of what was summed up without its bounds is nonsense.
            let is_quantile = name.ends_with("_bucket") && text.contains("histogram_quantile");
            assert!(!is_quantile || self.grouping.contains("le"), "{text}");
        }
    }

    /// The labels that its results have.
    fn labels(&self, exported: &Exported) -> BTreeSet<String> {
        if self.grouping.is_empty() {
            let labels = self.metrics.iter().filter_map(|(name, _)| exported.get(name));
            return labels.flatten().cloned().collect();
        }
        self.grouping.clone()
    }
}

/// Everything between `before` and `after`.
fn between<'a>(text: &'a str, before: &str, after: &str) -> Vec<&'a str> {
    text.split(before).skip(1).map(|rest| rest.split(after).next().unwrap_or_default()).collect()
}

fn alerts() -> Vec<Value> {
    let file: Value = serde_yaml_ng::from_str(ALERTS).expect("YAML");
    let groups = file["groups"].as_array().expect("groups");
    let rules = groups.iter().flat_map(|group| group["rules"].as_array().expect("rules"));
    rules.cloned().collect()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no {key}: {value}"))
}

/// Panels, those within collapsed rows too.
fn panels(of: &Value) -> Vec<&Value> {
    let panels = of["panels"].as_array().map(Vec::as_slice).unwrap_or_default();
    panels.iter().flat_map(|panel| [vec![panel], self::panels(panel)].concat()).collect()
}

#[tokio::test]
async fn alerts_ask_for_what_is_exported_and_are_complete() {
    let exported = exported().await;
    for alert in alerts() {
        let (name, expr) = (text(&alert, "alert"), text(&alert, "expr"));
        let query = Query::parse(expr);
        query.check(expr, &exported);
        let severity = text(&alert["labels"], "severity");
        assert!(["page", "ticket"].contains(&severity), "{name}");
        let labels = query.labels(&exported);
        for used in between(text(&alert["annotations"], "summary"), "$labels.", " ") {
            assert!(labels.contains(used), "{name} has no label {used}");
        }
        let section = format!("docs/runbooks.md#{}", name.to_lowercase());
        assert_eq!(text(&alert["annotations"], "runbook_url"), section);
    }
}

#[test]
fn every_alert_has_its_runbook_and_every_runbook_its_alert() {
    let alerts: Vec<_> = alerts().iter().map(|alert| text(alert, "alert").to_owned()).collect();
    let sections: Vec<_> = RUNBOOKS.split("\n### ").skip(1).collect();
    let titles: Vec<_> = sections.iter().map(|one| one.lines().next().unwrap_or("")).collect();
    assert_eq!(titles, alerts, "docs/runbooks.md has the alerts in their order");
    for section in sections {
        for part in ["**Means:**", "**See more:**", "**Do:**"] {
            assert_eq!(section.matches(part).count(), 1, "{part} of {section}");
        }
    }
}

#[tokio::test]
async fn the_dashboard_asks_for_what_is_exported_by_its_own_data_source() {
    let exported = exported().await;
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("JSON");
    let variables = dashboard["templating"]["list"].as_array().expect("variables");
    assert_eq!(
        (text(&variables[0], "name"), text(&variables[0], "type")),
        ("datasource", "datasource")
    );
    let mut rows = Vec::new();
    let mut ids = BTreeSet::new();
    for panel in panels(&dashboard) {
        assert!(ids.insert(panel["id"].as_u64()), "an id twice");
        if text(panel, "type") == "row" {
            rows.push(text(panel, "title").split(':').next().unwrap_or_default());
            continue;
        }
        assert_eq!(text(&panel["datasource"], "uid"), "${datasource}");
        for target in panel["targets"].as_array().expect("targets") {
            let expr = text(target, "expr");
            let query = Query::parse(expr);
            query.check(expr, &exported);
            let labels = query.labels(&exported);
            for used in between(text(target, "legendFormat"), "{{", "}}") {
                assert!(labels.contains(used), "no label {used}: {expr}");
            }
        }
    }
    assert_eq!(rows, ["Overview", "App", "Upstream", "TLS", "Gateway health", "Usage"]);
    for variable in &variables[1..] {
        let query = text(variable, "definition");
        let inside = between(query, "label_values(", ")").concat();
        let (metric, label) = inside.rsplit_once(", ").expect(query);
        let mut parsed = Query::parse(metric);
        parsed.grouping.insert(label.to_owned());
        parsed.check(query, &exported);
    }
}

#[tokio::test]
async fn the_documentations_queries_ask_for_what_is_exported() {
    let exported = exported().await;
    for block in between(METRICS, "```promql\n", "```") {
        for query in block.split("\n\n") {
            let lines = query.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>();
            // Several one after the other, each on its line, or one that goes on, indented.
            for one in lines.join("\n").replace("\n  ", " ").lines() {
                Query::parse(one).check(one, &exported);
            }
        }
    }
}

#[test]
fn a_query_is_read_as_prometheus_reads_it() {
    let query = Query::parse(
        "histogram_quantile(0.5, sum by (worker, le) (rate(a_bucket{x=~\"b|c\",y!=\"{d}\"}[5m]))) > 0.05 and b",
    );
    let matchers = vec![("x".to_owned(), "b|c".to_owned()), ("y".to_owned(), "{d}".to_owned())];
    assert_eq!(query.metrics, [("a_bucket".to_owned(), matchers), ("b".to_owned(), vec![])]);
    assert_eq!(query.grouping, BTreeSet::from(["le".to_owned(), "worker".to_owned()]));
}
