//! The names that travel through the gateway: an app, a host, one execution.
//!
//! Each is parsed once at the border and trusted from there on, so no module
//! checks a bare string twice. The header values that carry them are made when
//! the name is made, never per request.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use http::HeaderValue;
use thiserror::Error;

mod execution;

pub use execution::{ExecutionId, ExecutionIds};

/// The longest DNS label, RFC 1035 section 2.3.4.
pub const MAX_LABEL: usize = 63;
/// The longest host name that fits DNS, RFC 1035 section 2.3.4, without the root dot.
pub const MAX_HOST: usize = 253;

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    /// The text is no DNS-1123 label.
    #[error(
        "`{0}` is not a DNS label: use 1 to 63 of a-z, 0-9 and `-`, beginning and ending with a letter or digit"
    )]
    Label(String),
    /// The text is not `organization/name`.
    #[error("`{0}` is not an app: write `organization/name`")]
    App(String),
    /// The text is no domain name.
    #[error(
        "`{0}` is not a domain name: use labels of a-z, 0-9 and `-` joined by dots, at most 253 characters"
    )]
    Domain(String),
    /// The first label of a computed host does not fit DNS.
    #[error(
        "the host label `{label}` has {length} characters, more than the {MAX_LABEL} that DNS allows: \
         shorten the app's or the organization's name"
    )]
    LongLabel {
        /// The label `<app>-<org>[-<port>]`.
        label: String,
        /// Its length in characters.
        length: usize,
    },
    /// The whole computed host does not fit DNS.
    #[error(
        "the host `{0}` is longer than the {MAX_HOST} characters that DNS allows: shorten a name or the domain"
    )]
    LongHost(String),
}

/// A DNS-1123 label: `[a-z0-9]([-a-z0-9]*[a-z0-9])?`, at most 63 characters.
///
/// Hyphens are allowed anywhere inside, also in a row, which is why a host is
/// never split back into app and organization.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Label(Arc<str>);

impl Label {
    /// The label's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Label {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if is_label(text) { Ok(Self(text.into())) } else { Err(NameError::Label(text.to_owned())) }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    bytes.len() <= MAX_LABEL
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

/// An app: `organization/name`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AppId {
    /// Who owns the app.
    pub organization: Label,
    /// The app's name within its organization.
    pub name: Label,
}

impl AppId {
    /// Joins two parsed labels.
    pub fn new(organization: Label, name: Label) -> Self {
        Self { organization, name }
    }

    /// The value of `x-ignite-function-id`: `organization/name`.
    pub fn function_id(&self) -> HeaderValue {
        visible(&self.to_string())
    }

    /// The value of `x-ignite-organization-id`.
    pub fn organization_id(&self) -> HeaderValue {
        visible(self.organization.as_str())
    }
}

impl FromStr for AppId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (organization, name) =
            text.split_once('/').ok_or_else(|| NameError::App(text.to_owned()))?;
        Ok(Self::new(organization.parse()?, name.parse()?))
    }
}

impl fmt::Display for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.organization, self.name)
    }
}

impl fmt::Debug for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// Labels hold only visible ASCII, so the conversion cannot fail.
fn visible(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// A domain under which apps get their hosts, in lower case.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Domain(Arc<str>);

impl Domain {
    /// The domain's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Domain {
    /// The platform's own domain.
    fn default() -> Self {
        Self("ignite.dodil.cloud".into())
    }
}

impl FromStr for Domain {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let lower = text.to_ascii_lowercase();
        if !lower.is_empty() && lower.len() <= MAX_HOST && lower.split('.').all(is_label) {
            Ok(Self(lower.into()))
        } else {
            Err(NameError::Domain(text.to_owned()))
        }
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// The public host of one port of an app, in lower case, without a port or a trailing dot.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostName(Arc<str>);

impl HostName {
    /// The port whose host carries no port suffix.
    pub const DEFAULT_PORT: u16 = 80;

    /// `<app>-<org>.<domain>` for port 80, `<app>-<org>-<port>.<domain>` for any other.
    ///
    /// Two different apps can compute the same host; that is for the route table to refuse.
    pub fn of_port(app: &AppId, port: u16, domain: &Domain) -> Result<Self, NameError> {
        let mut label = format!("{}-{}", app.name, app.organization);
        if port != Self::DEFAULT_PORT {
            label = format!("{label}-{port}");
        }
        if label.len() > MAX_LABEL {
            return Err(NameError::LongLabel { length: label.len(), label });
        }
        let host = format!("{label}.{domain}");
        if host.len() > MAX_HOST { Err(NameError::LongHost(host)) } else { Ok(Self(host.into())) }
    }

    /// The host's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for HostName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

#[cfg(test)]
mod tests;
