//! `GET /metrics`: every number of the gateway, in one of two formats.
//!
//! `OpenMetrics` for whoever asks for it, as Prometheus does, else Prometheus'
//! own text. They differ in more than their name: Prometheus refuses a whole
//! text of its own format that holds an `info` family, and does not know a
//! counter's type unless the `TYPE` line carries the `_total` too.

use std::convert::Infallible;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};

use super::Admin;
use super::problem::Problem;

mod collector;
mod family;
mod text;
mod traces;

use text::Text;

/// How the numbers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// `OpenMetrics` 1.0.
    OpenMetrics,
    /// Prometheus text 0.0.4.
    Text,
}

/// `GET /metrics`.
pub(super) async fn show(
    State(admin): State<Admin>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let format = Format::wanted(&headers);
    let places = admin.places.clone();
    let content =
        places.make(move || Ok::<_, Infallible>(write(&admin, format).into_bytes())).await?;
    Ok(([(header::CONTENT_TYPE, format.content_type())], content).into_response())
}

fn write(admin: &Admin, format: Format) -> String {
    let mut text = Text::new(format);
    collector::collect(&mut text, admin);
    text.finish()
}

impl Format {
    /// `OpenMetrics` only where it is named and not liked less than plain text.
    fn wanted(headers: &HeaderMap) -> Self {
        let accepted = || {
            let values = headers.get_all(header::ACCEPT).iter();
            values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','))
        };
        let best = |name| {
            let weights = accepted().filter_map(|range| weight(range, name));
            weights.fold(0.0, f32::max)
        };
        let open = best("application/openmetrics-text");
        if open > 0.0 && open >= best("text/plain") { Self::OpenMetrics } else { Self::Text }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// The weight of a media range that names `name`, RFC 9110 section 12.5.1.
fn weight(range: &str, name: &str) -> Option<f32> {
    let mut parts = range.split(';').map(str::trim);
    if !parts.next()?.eq_ignore_ascii_case(name) {
        return None;
    }
    let weight = parts.find_map(|part| {
        part.split_once('=').filter(|(key, _)| key.trim().eq_ignore_ascii_case("q"))
    });
    // A weight that is no number makes its range worth nothing.
    Some(weight.map_or(1.0, |(_, value)| value.trim().parse().unwrap_or(0.0)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use super::*;

    fn wanted(accept: &[&'static str]) -> Format {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(header::ACCEPT, value.parse().expect("a value"));
        }
        Format::wanted(&headers)
    }

    #[test]
    fn prometheus_gets_openmetrics() {
        let prometheus = "application/vnd.google.protobuf;q=0.7,\
             application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
             application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        assert_eq!(wanted(&[prometheus]), Format::OpenMetrics);
        assert_eq!(wanted(&["text/html", "Application/OpenMetrics-Text"]), Format::OpenMetrics);
    }

    #[test]
    fn everybody_else_gets_prometheus_text() {
        for accept in [
            &[][..],
            &["*/*"],
            &["text/plain"],
            &["application/openmetrics-text;q=0"],
            &["application/openmetrics-text;q=x"],
            &["application/openmetrics-text;q=0.4, text/plain;q=0.5"],
            &["application/openmetrics-texts"],
        ] {
            assert_eq!(wanted(accept), Format::Text, "{accept:?}");
        }
    }
}
