//! Execution ids: UUID version 7, minted without a lock, a system call or, but
//! for one block in about a hundred, an allocation.

use bytes::{Bytes, BytesMut};
use http::HeaderValue;
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// The length of a hyphenated UUID.
const TEXT: usize = uuid::fmt::Hyphenated::LENGTH;
/// Ids are cut from blocks of this many bytes, so that one allocation serves 113 of them.
const BLOCK: usize = 4096;

/// The id of one invocation: UUID version 7, lower case, hyphenated.
///
/// It is kept as the header value it is sent as; a clone is a reference count.
#[derive(Clone, PartialEq, Eq)]
pub struct ExecutionId(HeaderValue);

impl ExecutionId {
    /// The value of `x-ignite-execution-id`.
    pub fn header_value(&self) -> &HeaderValue {
        &self.0
    }

    /// The id as a number.
    pub fn number(&self) -> u128 {
        uuid::Uuid::try_parse_ascii(self.0.as_bytes()).map_or(0, |id| id.as_u128())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

impl fmt::Display for ExecutionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for ExecutionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One worker's mint of execution ids.
///
/// The random part comes from a cryptographic generator seeded by the system:
/// a caller who sees his own ids cannot guess those of others.
pub struct ExecutionIds {
    random: StdRng,
    block: BytesMut,
}

impl ExecutionIds {
    /// A mint with a seed of its own.
    pub fn new() -> Self {
        Self { random: StdRng::from_os_rng(), block: BytesMut::new() }
    }

    /// The next id.
    pub fn mint(&mut self) -> ExecutionId {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let millis = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let mut noise = [0; 10];
        self.random.fill_bytes(&mut noise);
        let id = uuid::Builder::from_unix_timestamp_millis(millis, &noise).into_uuid();
        let mut text = [0; TEXT];
        id.hyphenated().encode_lower(&mut text);
        ExecutionId(self.header_value(&text))
    }

    fn header_value(&mut self, text: &[u8; TEXT]) -> HeaderValue {
        if self.block.capacity() < TEXT {
            self.block = BytesMut::with_capacity(BLOCK);
        }
        self.block.extend_from_slice(text);
        let cut: Bytes = self.block.split().freeze();
        // Hexadecimal digits and hyphens are always a valid field value.
        HeaderValue::from_maybe_shared(cut).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

impl Default for ExecutionIds {
    fn default() -> Self {
        Self::new()
    }
}
