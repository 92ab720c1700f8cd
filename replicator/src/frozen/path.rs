//! Paths for people: names are bytes, texts are not.

use std::fmt::Write;

/// A path as text: UTF-8 as it is, every other byte, control characters and the backslash as `\xHH`.
pub fn path_text(path: &[u8]) -> String {
    let mut text = String::with_capacity(path.len());
    for chunk in path.utf8_chunks() {
        for letter in chunk.valid().chars() {
            if letter.is_control() || letter == '\\' {
                let mut buffer = [0; 4];
                letter.encode_utf8(&mut buffer).bytes().for_each(|byte| escape(&mut text, byte));
            } else {
                text.push(letter);
            }
        }
        chunk.invalid().iter().for_each(|byte| escape(&mut text, *byte));
    }
    text
}

fn escape(text: &mut String, byte: u8) {
    // A string takes everything.
    let _ = write!(text, "\\x{byte:02x}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_can_be_told_from_every_other() {
        assert_eq!(path_text("/ä b".as_bytes()), "/ä b");
        assert_eq!(path_text(b"/\xff\n\\"), "/\\xff\\x0a\\x5c");
    }
}
