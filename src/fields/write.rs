//! Fields as HTTP/1.1 writes them. Lines that came in just that form, which is
//! nearly all, are copied in runs instead of piece by piece.

use std::ops::Range;

use bytes::{BufMut, BytesMut};

use super::{Fields, Line};

/// Between a name and its value.
const COLON: &[u8] = b": ";
const END: &[u8] = b"\r\n";

impl Fields {
    /// Appends every field, `name: value` and a line end each.
    pub fn write_lines(&self, out: &mut BytesMut) {
        let pieces = self.lines.len() * (COLON.len() + END.len());
        out.reserve(self.text.len() + pieces + self.added.len());
        let mut run = 0..0;
        for line in self.lines.iter().take_while(|line| !line.added) {
            match self.as_written(line) {
                Some(range) if range.start == run.end => run.end = range.end,
                Some(range) => {
                    self.write_run(&run, out);
                    run = range;
                }
                None => {
                    self.write_run(&run, out);
                    run = 0..0;
                    for piece in [self.slice(line.name), COLON, self.slice(line.value), END] {
                        out.put_slice(piece);
                    }
                }
            }
        }
        self.write_run(&run, out);
        out.put_slice(&self.added);
    }

    fn write_run(&self, run: &Range<usize>, out: &mut BytesMut) {
        out.put_slice(self.text.get(run.clone()).unwrap_or_default());
    }

    /// Where a line lies in the text, if it does so byte for byte as it is to be written.
    fn as_written(&self, line: &Line) -> Option<Range<usize>> {
        let start = line.name.start as usize;
        let colon = start + line.name.length as usize;
        let value = colon + COLON.len();
        let end = value + line.value.length as usize;
        let written = line.value.start as usize == value
            && self.text.get(colon..value)? == COLON
            && self.text.get(end..end + END.len())? == END;
        written.then_some(start..end + END.len())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderValue;

    use super::*;
    use crate::fields::Builder;

    /// The fields of a section, parted as a parser parts them.
    fn fields(section: &'static str) -> Fields {
        let mut fields = Fields::of_text(Bytes::from_static(section.as_bytes()), 8);
        for line in section.split("\r\n").filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').expect("a field line");
            fields.push_line(name.as_bytes(), value.trim_matches([' ', '\t']).as_bytes());
        }
        fields
    }

    fn written(fields: &Fields) -> String {
        let mut out = BytesMut::new();
        fields.write_lines(&mut out);
        let mut pieces = String::new();
        for field in fields.iter() {
            for piece in [field.name, COLON, field.value, END] {
                pieces.push_str(str::from_utf8(piece).expect("UTF-8"));
            }
        }
        let text = String::from_utf8(out.to_vec()).expect("UTF-8");
        assert_eq!(text, pieces, "as every other reader of them sees them");
        text
    }

    #[test]
    fn lines_are_written_alike_however_they_came() {
        for section in
            ["", "a: 1\r\nB: 2\r\n", "a:1\r\n", "a: 1 \r\nb: 2\r\n", "a:  1\r\nb:\r\nc: 3\r\n"]
        {
            let mut fields = fields(section);
            written(&fields);
            fields.add("via", HeaderValue::from_static("1.1 x"));
            assert!(written(&fields).ends_with("via: 1.1 x\r\n"), "{section}");
        }
    }

    #[test]
    fn what_was_taken_out_between_two_runs_is_not_written() {
        let mut fields = fields("a: 1\r\nb: 2\r\nc: 3\r\nd: 4\r\n");
        fields.add("e", HeaderValue::from_static("5"));
        fields.retain(|field| field.name != b"b" && field.name != b"e");
        assert_eq!(written(&fields), "a: 1\r\nc: 3\r\nd: 4\r\ne: 5\r\n");
    }

    #[test]
    fn a_section_without_lines_of_its_own_is_written_from_its_pieces() {
        let mut builder = Builder::new();
        builder.push(b"a", b"1");
        builder.push(b"b", b"");
        assert_eq!(written(&builder.finish().0), "a: 1\r\nb: \r\n");
    }
}
