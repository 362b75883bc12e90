//! Small text files of ours: a line that names the form, lines, and a checksum of all that is
//! before it.

use crate::log::crc32;

/// Ends a text with its checksum.
pub(crate) fn seal(mut text: String) -> String {
    let crc = crc32(text.as_bytes());
    text.push_str(&format!("crc {crc:08x}\n"));
    text
}

/// The lines between the first, which must be this one, and the checksum, which must be right.
pub(crate) fn open<'a>(bytes: &'a [u8], first_line: &str) -> Option<std::str::Lines<'a>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (body, crc) = text.strip_suffix('\n')?.rsplit_once("crc ")?;
    if crc != format!("{:08x}", crc32(body.as_bytes())) {
        return None;
    }
    let mut lines = body.lines();
    (lines.next() == Some(first_line)).then_some(lines)
}
