//! A part of the list of apps: 100,000 of them are tens of megabytes, and whoever
//! looks wants those that he searches for, or the first hundred.
//!
//! The next page begins behind the last app of this one, so apps that come and
//! go in between are neither shown twice nor left out. `Link` names it, RFC 8288.

use std::sync::{Arc, Mutex, PoisonError};

use axum::http::{HeaderMap, HeaderValue, header};

use crate::admin::problem::Problem;
use crate::ids::AppId;
use crate::upstream::app::Route;

/// The most apps on one page.
const MOST: usize = 10_000;
/// The longest text that is searched for: no host is longer.
const LONGEST: usize = 253;

/// What of the list is asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    /// In `organization/name` or a host.
    search: String,
    after: Option<AppId>,
    limit: Option<usize>,
}

/// How many apps there are on all pages together, and where the next begins: told once the list
/// was read.
#[derive(Debug, Clone, Default)]
pub(super) struct Total(Arc<Mutex<(usize, Option<String>)>>);

impl Page {
    /// Reads a query. What is not understood is refused: a page of everything in its place would
    /// surprise.
    pub(super) fn asked(query: &str) -> Result<Self, Problem> {
        let mut page = Self::default();
        for (key, value) in query.split('&').filter(|pair| !pair.is_empty()).map(pair) {
            let value = decoded(value).ok_or_else(|| wrong("a value is not UTF-8"))?;
            match key {
                "search" if value.len() <= LONGEST => page.search = value.to_ascii_lowercase(),
                "search" => return Err(wrong("`search` is too long")),
                "after" => {
                    let app = value.parse();
                    page.after = Some(app.map_err(|_| wrong("`after` is no organization/name"))?);
                }
                "limit" => match value.parse() {
                    Ok(limit) if (1..=MOST).contains(&limit) => page.limit = Some(limit),
                    _ => return Err(wrong("`limit` is 1 to 10000")),
                },
                _ => return Err(wrong("`search`, `limit` and `after` are known")),
            }
        }
        Ok(page)
    }

    /// The apps of the page; all are counted that match.
    pub(super) fn cut<'a>(
        &self,
        apps: impl Iterator<Item = &'a [Arc<Route>]>,
        total: &Total,
    ) -> Vec<&'a [Arc<Route>]> {
        let (mut count, mut page, mut next) = (0, Vec::new(), None);
        for app in apps.filter(|app| self.matches(app)) {
            count += 1;
            let is_behind = app.first().map(|route| &route.app) > self.after.as_ref();
            if !is_behind || next.is_some() {
                continue;
            }
            if self.limit.is_some_and(|limit| page.len() >= limit) {
                next = page.last().and_then(|last: &&[Arc<Route>]| Some(self.link(last.first()?)));
            } else {
                page.push(app);
            }
        }
        *total.0.lock().unwrap_or_else(PoisonError::into_inner) = (count, next);
        page
    }

    fn matches(&self, app: &[Arc<Route>]) -> bool {
        self.search.is_empty()
            || app.first().is_some_and(|route| route.app.to_string().contains(&self.search))
            || app.iter().any(|route| route.host.as_str().contains(&self.search))
    }

    fn link(&self, last: &Route) -> String {
        let limit = self.limit.unwrap_or(MOST);
        let mut link = format!("</apps?limit={limit}&after={}", last.app);
        if !self.search.is_empty() {
            link.push_str("&search=");
            link.push_str(&encoded(&self.search));
        }
        link + ">; rel=\"next\""
    }
}

impl Total {
    /// The fields of the answer that tell it.
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        let (count, next) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner);
        headers.insert("x-total-count", HeaderValue::from(*count));
        if let Some(link) = next.as_deref().and_then(|link| HeaderValue::from_str(link).ok()) {
            headers.insert(header::LINK, link);
        }
    }
}

fn wrong(what: &str) -> Problem {
    Problem::bad_request(format!("{what}: /apps?search=TEXT&limit=1..10000&after=ORG/NAME"))
}

fn pair(text: &str) -> (&str, &str) {
    text.split_once('=').unwrap_or((text, ""))
}

/// Percent-encoding undone, and `+` for a space as forms write it.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        match (first, tail) {
            (b'%', [high, low, tail @ ..]) => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                let byte = digit(high)? * 16 + digit(low)?;
                bytes.push(u8::try_from(byte).ok()?);
                rest = tail;
            }
            (b'+', _) => bytes.push(b' '),
            (byte, _) => bytes.push(*byte),
        }
    }
    String::from_utf8(bytes).ok()
}

fn encoded(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use super::*;

    #[test]
    fn a_query_is_read_whole_or_refused() {
        let page = Page::asked("limit=50&search=Data%2DPro+x&after=acme/hello").expect("a page");
        assert_eq!((page.limit, &*page.search), (Some(50), "data-pro x"));
        assert_eq!(page.after.expect("an app").to_string(), "acme/hello");
        assert_eq!(Page::asked(""), Ok(Page::default()));
        for wrong in
            ["limit=0", "limit=10001", "limit=", "limit=x", "after=acme", "page=2", "search=%ff"]
        {
            assert!(Page::asked(wrong).is_err(), "{wrong}");
        }
        assert!(Page::asked(&format!("search={}", "x".repeat(254))).is_err());
    }

    #[test]
    fn what_is_encoded_is_decoded_to_the_same() {
        for text in ["hello", "a b&c=d%", "größe/ü", ""] {
            assert_eq!(decoded(&encoded(text)).as_deref(), Some(text));
        }
        assert_eq!(decoded("100%"), Some("100%".to_owned()), "no encoding at all");
        assert_eq!(decoded("%zz"), None);
    }
}
