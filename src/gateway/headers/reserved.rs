//! The fields that only the gateway sets: a caller's are removed in every
//! spelling, then ours are put in. There is no path on which a caller's stays.

use http::HeaderValue;

use crate::fields::{Fields, Known};
use crate::http1::framing::options;
use crate::ids::ExecutionId;
use crate::upstream::app::Route;

/// The id of this invocation.
pub const EXECUTION_ID: &str = "x-ignite-execution-id";
/// `organization/name`.
pub const FUNCTION_ID: &str = "x-ignite-function-id";
/// The organization.
pub const ORGANIZATION_ID: &str = "x-ignite-organization-id";

/// Removes every spelling of `x-ignite-…`, also where `Trailer` announces it.
pub fn strip(fields: &mut Fields) {
    let is_reserved = |name: &[u8]| Known::of(name) == Known::Reserved;
    let announced: Vec<&[u8]> = fields.known(Known::Trailer).flat_map(options).collect();
    let rewritten = announced.iter().any(|name| is_reserved(name)).then(|| {
        let kept: Vec<&[u8]> = announced.into_iter().filter(|name| !is_reserved(name)).collect();
        kept.join(&b", "[..])
    });
    fields.retain(|field| match field.known {
        Known::Reserved => false,
        Known::Trailer => rewritten.is_none(),
        _ => true,
    });
    if let Some(names) = rewritten.filter(|names| !names.is_empty())
        && let Ok(names) = HeaderValue::from_bytes(&names)
    {
        fields.add("trailer", names);
    }
}

/// Tells the app whose invocation this is.
pub fn insert(fields: &mut Fields, route: &Route, execution_id: &ExecutionId) {
    insert_id(fields, execution_id);
    fields.add(FUNCTION_ID, &route.function_id);
    fields.add(ORGANIZATION_ID, &route.organization_id);
}

/// Tells the execution id alone, so that a caller can quote it.
pub fn insert_id(fields: &mut Fields, execution_id: &ExecutionId) {
    fields.add(EXECUTION_ID, execution_id.header_value());
}
