//! Fields that end at this hop, RFC 9110 section 7.6.1.
//!
//! Every `Connection` line counts, not the first alone. Framing fields go too:
//! what leaves is framed anew.

use http::HeaderValue;

use super::forwarded::Peer;
use crate::error::{Error, Malformed};
use crate::fields::{Fields, Known};
use crate::http1::framing::options;

/// Field names that a message's `Connection` lines nominate, as they came.
pub type Nominated = Vec<Vec<u8>>;

/// Nominating a field that routes or frames the message is an attack or a
/// defect, and refused. So is a name of the fields by which a trusted peer says
/// who called: that peer passed on what its own caller wants to be forgotten.
pub fn refuse_protected(nominated: &Nominated, peer: &Peer) -> Result<(), Error> {
    let is_refused = |name: &[u8]| is_protected(name) || (peer.is_trusted() && tells_caller(name));
    if nominated.iter().any(|name| is_refused(name)) {
        return Err(Error::Malformed(Malformed::Connection));
    }
    Ok(())
}

/// Removes hop-by-hop fields and whatever `Connection` nominates, and tells
/// the latter: trailers of these names end at this hop, too.
pub fn strip(fields: &mut Fields) -> Nominated {
    let nominated = nominated(fields);
    fields.retain(|field| {
        let keep = match field.known {
            Known::Connection
            | Known::KeepAlive
            | Known::HopByHop
            | Known::Te
            | Known::Upgrade
            | Known::TransferEncoding
            | Known::ContentLength
            | Known::Folded => false,
            Known::Other
            | Known::Host
            | Known::Trailer
            | Known::Expect
            | Known::Via
            | Known::Date
            | Known::Credentials
            | Known::ForwardedFor
            | Known::ForwardedProto
            | Known::ForwardedHost
            | Known::ForwardedOther
            | Known::ClientCert
            | Known::TraceParent
            | Known::TraceState
            | Known::Reserved => true,
        };
        let named = || nominated.iter().any(|name| name.eq_ignore_ascii_case(field.name));
        keep && (nominated.is_empty() || field.known == Known::Host || !named())
    });
    nominated
}

/// The field names that all `Connection` lines nominate; `close` and
/// `keep-alive` are no names to look for, so most requests have none.
fn nominated(fields: &Fields) -> Nominated {
    fields
        .known(Known::Connection)
        .flat_map(options)
        .filter(|option| {
            !option.eq_ignore_ascii_case(b"close") && !option.eq_ignore_ascii_case(b"keep-alive")
        })
        .map(<[u8]>::to_vec)
        .collect()
}

/// Fields without which the message is another one.
fn is_protected(name: &[u8]) -> bool {
    name.starts_with(b":")
        || matches!(Known::of(name), Known::Host | Known::ContentLength | Known::TransferEncoding)
}

/// Fields by which apps learn who called.
fn tells_caller(name: &[u8]) -> bool {
    matches!(
        Known::of(name),
        Known::ForwardedFor
            | Known::ForwardedProto
            | Known::ForwardedHost
            | Known::ForwardedOther
            | Known::ClientCert
    )
}

/// Whether the caller takes trailers, RFC 9110 section 10.1.4.
pub fn accepts_trailers(fields: &Fields) -> bool {
    fields.known(Known::Te).flat_map(options).any(|option| option.eq_ignore_ascii_case(b"trailers"))
}

/// Tells the app that its trailers are welcome, on this hop's own behalf.
pub fn announce_trailers(fields: &mut Fields) {
    fields.add("te", HeaderValue::from_static("trailers"));
    fields.add("connection", HeaderValue::from_static("te"));
}
