//! The dashboard: one page at `/`, with its scripts and styles, all in the binary.
//!
//! It fetches nothing from anywhere else, so it works where there is no internet;
//! its policy says so to the browser, and that no script or style stands in the
//! page: what an app is called, or a caller sends, can never become one.

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::{IntoResponse, Response};

use super::problem::Problem;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 4] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

const PAGE: &str = include_str!("dashboard/index.html");
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The files beside the page.
const FILES: [(&str, &str, &str); 6] = [
    ("dashboard.js", SCRIPT, include_str!("dashboard/dashboard.js")),
    ("dashboard-app.js", SCRIPT, include_str!("dashboard/dashboard-app.js")),
    ("dashboard-data.js", SCRIPT, include_str!("dashboard/dashboard-data.js")),
    ("dashboard-draw.js", SCRIPT, include_str!("dashboard/dashboard-draw.js")),
    ("dashboard-overview.js", SCRIPT, include_str!("dashboard/dashboard-overview.js")),
    ("dashboard.css", "text/css; charset=utf-8", include_str!("dashboard/dashboard.css")),
];
const ICON: &str = include_str!("dashboard/dashboard.svg");

/// `GET /`: the page for browsers, a list of the paths for everybody else.
pub(super) async fn page(headers: HeaderMap) -> Response {
    let accepts = headers.get_all(header::ACCEPT).iter();
    let page = accepts
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|range| range.split(';').next().is_some_and(|name| name.trim() == "text/html"));
    let content = if page {
        ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], PAGE)
    } else {
        ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], super::INDEX)
    };
    ([(header::VARY, "Accept")], HEADERS, content).into_response()
}

/// `GET /{file}`.
pub(super) async fn file(Path(name): Path<String>) -> Result<Response, Problem> {
    let icon = ("dashboard.svg", "image/svg+xml", ICON);
    let mut files = FILES.iter().chain([&icon]);
    let file = files.find(|(known, ..)| *known == name);
    let (_, kind, content) =
        file.ok_or_else(|| Problem::not_found("no such path; / lists those there are"))?;
    Ok((HEADERS, [(header::CONTENT_TYPE, *kind)], *content).into_response())
}
