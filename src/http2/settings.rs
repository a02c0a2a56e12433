//! What each side says of itself, RFC 9113 section 6.5.

use bytes::{BufMut, BytesMut};

use super::frame::{Code, LARGEST_PAYLOAD, MAX_PAYLOAD, MAX_STREAM_ID};

const HEADER_TABLE_SIZE: u16 = 0x1;
const ENABLE_PUSH: u16 = 0x2;
const MAX_CONCURRENT_STREAMS: u16 = 0x3;
const INITIAL_WINDOW_SIZE: u16 = 0x4;
const MAX_FRAME_SIZE: u16 = 0x5;
const MAX_HEADER_LIST_SIZE: u16 = 0x6;
/// RFC 8441 section 3.
const ENABLE_CONNECT_PROTOCOL: u16 = 0x8;

/// The window of a stream and of a connection until a side says otherwise.
pub const DEFAULT_WINDOW: u32 = 65_535;
/// The field table that an encoder may use until its peer says otherwise.
pub const DEFAULT_TABLE: usize = 4096;
/// More settings than this in one frame serve nobody: six are defined, and each costs work.
const MAX_ENTRIES: usize = 64;

/// The peer's settings, as far as they matter here.
#[derive(Debug, Clone, Copy)]
pub struct PeerSettings {
    /// What our encoder's table may hold.
    pub header_table: usize,
    /// Streams that we may have open.
    pub max_concurrent: usize,
    /// What we may send on a new stream.
    pub window: u32,
    /// The largest payload that we may send.
    pub max_payload: usize,
    /// The largest field section that the peer takes.
    pub max_field_section: usize,
    /// The peer takes extended CONNECT.
    pub connect_protocol: bool,
}

impl Default for PeerSettings {
    fn default() -> Self {
        Self {
            header_table: DEFAULT_TABLE,
            max_concurrent: usize::MAX,
            window: DEFAULT_WINDOW,
            max_payload: MAX_PAYLOAD,
            max_field_section: usize::MAX,
            connect_protocol: false,
        }
    }
}

impl PeerSettings {
    /// Takes in the payload of a SETTINGS frame.
    pub fn apply(&mut self, payload: &[u8]) -> Result<(), Code> {
        let (entries, rest) = payload.as_chunks::<6>();
        if !rest.is_empty() {
            return Err(Code::FRAME_SIZE_ERROR);
        }
        if entries.len() > MAX_ENTRIES {
            return Err(Code::ENHANCE_YOUR_CALM);
        }
        for [a, b, value @ ..] in entries {
            self.set(u16::from_be_bytes([*a, *b]), u32::from_be_bytes(*value))?;
        }
        Ok(())
    }

    fn set(&mut self, id: u16, value: u32) -> Result<(), Code> {
        let size = value as usize;
        match id {
            HEADER_TABLE_SIZE => self.header_table = size,
            ENABLE_PUSH | ENABLE_CONNECT_PROTOCOL if value > 1 => {
                return Err(Code::PROTOCOL_ERROR);
            }
            MAX_CONCURRENT_STREAMS => self.max_concurrent = size,
            INITIAL_WINDOW_SIZE if value > MAX_STREAM_ID => return Err(Code::FLOW_CONTROL_ERROR),
            INITIAL_WINDOW_SIZE => self.window = value,
            MAX_FRAME_SIZE => {
                if size < MAX_PAYLOAD || value > LARGEST_PAYLOAD {
                    return Err(Code::PROTOCOL_ERROR);
                }
                self.max_payload = size;
            }
            MAX_HEADER_LIST_SIZE => self.max_field_section = size,
            ENABLE_CONNECT_PROTOCOL => self.connect_protocol = value == 1,
            // RFC 9113 section 6.5.2: what is not known is ignored.
            _ => {}
        }
        Ok(())
    }
}

/// What this side says of itself.
#[derive(Debug, Clone, Copy)]
pub struct OwnSettings {
    /// Streams that the peer may have open.
    pub max_concurrent: u32,
    /// What the peer may send on a stream before it is read.
    pub stream_window: u32,
    /// What the peer may send on all streams before it is read.
    pub connection_window: u32,
    /// The largest field section taken, by RFC 9113 section 10.5.1: 32 bytes count for each field.
    pub field_section: usize,
    /// The most fields of a section.
    pub fields: usize,
    /// The longest `:path`.
    pub target: usize,
}

impl OwnSettings {
    /// The payload of a server's SETTINGS frame.
    pub fn of_server(&self) -> BytesMut {
        let mut payload = BytesMut::new();
        put(&mut payload, MAX_CONCURRENT_STREAMS, self.max_concurrent);
        put(&mut payload, INITIAL_WINDOW_SIZE, self.stream_window);
        put(&mut payload, MAX_HEADER_LIST_SIZE, number(self.field_section));
        put(&mut payload, ENABLE_CONNECT_PROTOCOL, 1);
        payload
    }

    /// The payload of a client's SETTINGS frame. Nothing may be pushed.
    pub fn of_client(&self) -> BytesMut {
        let mut payload = BytesMut::new();
        put(&mut payload, ENABLE_PUSH, 0);
        put(&mut payload, INITIAL_WINDOW_SIZE, self.stream_window);
        put(&mut payload, MAX_HEADER_LIST_SIZE, number(self.field_section));
        payload
    }
}

fn number(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

fn put(payload: &mut BytesMut, id: u16, value: u32) {
    payload.put_u16(id);
    payload.put_u32(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(id: u16, value: u32) -> Result<PeerSettings, Code> {
        let mut payload = BytesMut::new();
        put(&mut payload, id, value);
        let mut settings = PeerSettings::default();
        settings.apply(&payload).map(|()| settings)
    }

    #[test]
    fn values_out_of_range_are_refused_with_the_code_of_the_rfc() {
        for (id, value, code) in [
            (ENABLE_PUSH, 2, Code::PROTOCOL_ERROR),
            (INITIAL_WINDOW_SIZE, 1 << 31, Code::FLOW_CONTROL_ERROR),
            (MAX_FRAME_SIZE, 16_383, Code::PROTOCOL_ERROR),
            (MAX_FRAME_SIZE, 1 << 24, Code::PROTOCOL_ERROR),
            (ENABLE_CONNECT_PROTOCOL, 2, Code::PROTOCOL_ERROR),
        ] {
            assert_eq!(applied(id, value).expect_err("out of range"), code, "{id} = {value}");
        }
    }

    #[test]
    fn the_last_of_several_values_counts_and_unknown_ids_are_ignored() {
        let mut payload = BytesMut::new();
        put(&mut payload, INITIAL_WINDOW_SIZE, 1);
        put(&mut payload, 0xfafa, 7);
        put(&mut payload, INITIAL_WINDOW_SIZE, 2);
        let mut settings = PeerSettings::default();
        settings.apply(&payload).expect("valid");
        assert_eq!(settings.window, 2);
    }

    #[test]
    fn a_payload_of_no_whole_entries_is_of_the_wrong_size() {
        assert_eq!(PeerSettings::default().apply(&[0; 7]), Err(Code::FRAME_SIZE_ERROR));
        assert_eq!(PeerSettings::default().apply(&[0; 6 * 65]), Err(Code::ENHANCE_YOUR_CALM));
    }
}
