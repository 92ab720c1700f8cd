//! Forms (`multipart/form-data`, RFC 7578) as they come: bytes are pushed in, fields and pieces of the file are
//! pulled out. However the bytes are split, what comes out is the same but for the borders of the pieces.
//!
//! Owns the bounds: what stands before the bytes of the file is [`BEFORE_FILE_BYTES_MAX`] together and
//! [`FIELDS_MAX`] fields, and as much may follow it and is passed over. Of the file no more is kept than could be
//! the beginning of a delimiter. No I/O.

use bytes::{Buf, Bytes, BytesMut};

/// The most bytes before those of the file.
pub(super) const BEFORE_FILE_BYTES_MAX: usize = 20 << 10;
/// The most fields.
pub(super) const FIELDS_MAX: usize = 100;
/// The longest boundary (RFC 2046 section 5.1.1).
const BOUNDARY_BYTES_MAX: usize = 70;
/// The end of a line.
const LINE_END: &[u8] = b"\r\n";
/// The end of the head of a part.
const HEAD_END: &[u8] = b"\r\n\r\n";
/// The name of the field with the file.
const FILE: &str = "file";

/// What comes out of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::s3) enum Event {
    /// A field by its name in lower case, and its value.
    Field(String, String),
    /// The file begins; it may have a name.
    File(Option<String>),
    /// Bytes of the file.
    Data(Bytes),
    /// The file is over.
    End,
}

/// Why a form is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::s3) enum FormError {
    /// It does not have the form of one.
    #[error("the form is malformed")]
    Malformed,
    /// Too much stands before the file.
    #[error("too much stands before the file")]
    TooLong,
    /// There is no file in it.
    #[error("there is no file in the form")]
    NoFile,
    /// It ended before its end.
    #[error("Incomplete: the form ended before its end")]
    Incomplete,
    /// Its bytes did not arrive; why is in the note of the request.
    #[error("the form was not received")]
    Cut,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// Before the first delimiter.
    Start,
    /// Behind a delimiter, up to the end of its line.
    Delimiter,
    /// In the head of a part.
    Head,
    /// In the value of a field.
    Value(String),
    /// In the file.
    File,
    /// Behind the file.
    Over,
}

/// A form on its way in.
pub(in crate::s3) struct Parser {
    delimiter: Vec<u8>,
    buffer: BytesMut,
    /// So many bytes of the buffer hold no beginning of what is looked for.
    scanned: usize,
    state: State,
    /// How many bytes may still come before the file, or behind it.
    left: usize,
    fields: usize,
}

impl Parser {
    /// Of the type of a form, which says its boundary.
    pub(in crate::s3) fn new(content_type: &str) -> Result<Self, FormError> {
        let (_, parameters) = content_type.split_once(';').ok_or(FormError::Malformed)?;
        let boundary = parameter(parameters, "boundary").ok_or(FormError::Malformed)?;
        if boundary.is_empty() || boundary.len() > BOUNDARY_BYTES_MAX {
            return Err(FormError::Malformed);
        }
        Ok(Self {
            delimiter: [b"\r\n--", boundary.as_bytes()].concat(),
            // The first delimiter may stand at the very beginning: as if a line had ended before it.
            buffer: BytesMut::from(LINE_END),
            scanned: 0,
            state: State::Start,
            left: BEFORE_FILE_BYTES_MAX,
            fields: 0,
        })
    }

    /// More bytes of the form.
    pub(in crate::s3) fn push(&mut self, bytes: &[u8]) -> Result<(), FormError> {
        if self.state == State::Over {
            self.left = self.left.checked_sub(bytes.len()).ok_or(FormError::TooLong)?;
        } else {
            self.buffer.extend_from_slice(bytes);
        }
        Ok(())
    }

    /// What comes next; none when more bytes are needed.
    pub(in crate::s3) fn next(&mut self) -> Result<Option<Event>, FormError> {
        loop {
            let event = match &self.state {
                State::Start => self.skip_to_delimiter()?,
                State::Delimiter => self.end_delimiter()?,
                State::Head => self.head()?,
                State::Value(_) => self.value()?,
                State::File => self.data(),
                State::Over => return Ok(None),
            };
            match event {
                Step::Event(event) => return Ok(Some(event)),
                Step::More => return Ok(None),
                Step::Again => {}
            }
        }
    }

    /// The bytes are over: whether the form is, too.
    pub(in crate::s3) fn finish(&self) -> Result<(), FormError> {
        if self.state == State::Over { Ok(()) } else { Err(FormError::Incomplete) }
    }

    /// Where something begins in the buffer. What was looked at is not looked at again.
    fn find(&mut self, what: Wanted) -> Option<usize> {
        let needle = match what {
            Wanted::Delimiter => self.delimiter.as_slice(),
            Wanted::LineEnd => LINE_END,
            Wanted::HeadEnd => HEAD_END,
        };
        let found = find(&self.buffer[self.scanned..], needle).map(|place| self.scanned + place);
        if found.is_none() {
            self.scanned = (self.buffer.len() + 1).saturating_sub(needle.len()).max(self.scanned);
        }
        found
    }

    /// Takes bytes from the front; they count among those before the file.
    fn take(&mut self, bytes: usize) -> Result<BytesMut, FormError> {
        self.left = self.left.checked_sub(bytes).ok_or(FormError::TooLong)?;
        self.scanned = 0;
        Ok(self.buffer.split_to(bytes))
    }

    /// More is needed, unless there is too much already.
    fn more(&self) -> Result<Step, FormError> {
        if self.buffer.len() > self.left { Err(FormError::TooLong) } else { Ok(Step::More) }
    }

    fn skip_to_delimiter(&mut self) -> Result<Step, FormError> {
        let Some(place) = self.find(Wanted::Delimiter) else { return self.more() };
        self.take(place + self.delimiter.len())?;
        self.state = State::Delimiter;
        Ok(Step::Again)
    }

    fn end_delimiter(&mut self) -> Result<Step, FormError> {
        if self.buffer.starts_with(b"--") {
            return Err(FormError::NoFile);
        }
        let Some(place) = self.find(Wanted::LineEnd) else { return self.more() };
        let padding = self.take(place + LINE_END.len())?;
        if padding[..place].iter().any(|byte| !b" \t".contains(byte)) {
            return Err(FormError::Malformed);
        }
        self.state = State::Head;
        Ok(Step::Again)
    }

    fn head(&mut self) -> Result<Step, FormError> {
        let Some(place) = self.find(Wanted::HeadEnd) else { return self.more() };
        let head = self.take(place + HEAD_END.len())?;
        let head = std::str::from_utf8(&head[..place]).map_err(|_| FormError::Malformed)?;
        let (name, file_name) = names(head).ok_or(FormError::Malformed)?;
        if name == FILE {
            self.state = State::File;
            return Ok(Step::Event(Event::File(file_name)));
        }
        self.fields += 1;
        if self.fields > FIELDS_MAX {
            return Err(FormError::TooLong);
        }
        self.state = State::Value(name);
        Ok(Step::Again)
    }

    fn value(&mut self) -> Result<Step, FormError> {
        let Some(place) = self.find(Wanted::Delimiter) else { return self.more() };
        let value = self.take(place + self.delimiter.len())?;
        let value = std::str::from_utf8(&value[..place]).map_err(|_| FormError::Malformed)?.to_owned();
        match std::mem::replace(&mut self.state, State::Delimiter) {
            State::Value(name) => Ok(Step::Event(Event::Field(name, value))),
            _ => Err(FormError::Malformed),
        }
    }

    fn data(&mut self) -> Step {
        if self.buffer.starts_with(&self.delimiter) {
            self.state = State::Over;
            self.left = BEFORE_FILE_BYTES_MAX;
            self.buffer.clear();
            return Step::Event(Event::End);
        }
        let found = self.find(Wanted::Delimiter);
        let place = found.unwrap_or(self.scanned);
        self.scanned = 0;
        if place == 0 {
            return Step::More;
        }
        Step::Event(Event::Data(self.buffer.split_to(place).freeze()))
    }
}

/// How a form goes on.
enum Step {
    Event(Event),
    More,
    Again,
}

/// What is looked for.
enum Wanted {
    Delimiter,
    LineEnd,
    HeadEnd,
}

/// Where `needle`, which begins with the end of a line, begins in `text`.
fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    let mut place = 0;
    loop {
        place += text[place..].iter().position(|byte| *byte == needle[0])?;
        if text[place..].starts_with(needle) {
            return Some(place);
        }
        place += 1;
    }
}

/// The name of a part in lower case, and that of its file.
fn names(head: &str) -> Option<(String, Option<String>)> {
    let mut lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
    let (_, value) = lines.find(|(name, _)| name.trim().eq_ignore_ascii_case("content-disposition"))?;
    let (kind, parameters) = value.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("form-data") {
        return None;
    }
    let name = parameter(parameters, "name")?.to_ascii_lowercase();
    Some((name, parameter(parameters, "filename")))
}

/// The value of a parameter, in quotes or without. A backslash is one, unless a quote follows: browsers send paths.
fn parameter(parameters: &str, wanted: &str) -> Option<String> {
    let mut rest = parameters.as_bytes();
    while !rest.is_empty() {
        let equals = rest.iter().position(|byte| *byte == b'=')?;
        let name = rest[..equals].trim_ascii();
        rest.advance(equals + 1);
        rest = rest.trim_ascii_start();
        let value = if rest.first() == Some(&b'"') { quoted(&mut rest)? } else { token(&mut rest) };
        if name.eq_ignore_ascii_case(wanted.as_bytes()) {
            return String::from_utf8(value).ok();
        }
        let end = rest.iter().position(|byte| *byte == b';').map_or(rest.len(), |place| place + 1);
        rest.advance(end);
    }
    None
}

fn quoted(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let mut value = Vec::new();
    let mut place = 1;
    loop {
        match (rest.get(place)?, rest.get(place + 1)) {
            (b'"', _) => break,
            (b'\\', Some(b'"')) => {
                value.push(b'"');
                place += 2;
            }
            (byte, _) => {
                value.push(*byte);
                place += 1;
            }
        }
    }
    rest.advance(place + 1);
    Some(value)
}

fn token(rest: &mut &[u8]) -> Vec<u8> {
    let end = rest.iter().position(|byte| *byte == b';').unwrap_or(rest.len());
    let value = rest[..end].trim_ascii().to_vec();
    rest.advance(end);
    value
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TYPE: &str = "multipart/form-data; boundary=\"x y\"";

    /// What comes out of a form in pieces: its fields, and the file as a whole.
    type Read = (Vec<(String, String)>, Option<String>, Vec<u8>);

    fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Read, FormError> {
        let mut parser = Parser::new(TYPE)?;
        let (mut fields, mut name, mut data) = (Vec::new(), None, Vec::new());
        for piece in pieces {
            parser.push(piece)?;
            while let Some(event) = parser.next()? {
                match event {
                    Event::Field(name, value) => fields.push((name, value)),
                    Event::File(found) => name = found,
                    Event::Data(bytes) => data.extend(bytes),
                    Event::End => {}
                }
            }
        }
        parser.finish()?;
        Ok((fields, name, data))
    }

    fn form(fields: &[(String, String)], file: &[u8]) -> Vec<u8> {
        let mut form = Vec::new();
        for (name, value) in fields {
            let head = format!("--x y\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
            form.extend(head.bytes().chain(value.bytes()).chain(*b"\r\n"));
        }
        let head = "--x y\r\ncontent-disposition: form-data; name=file; filename=\"a \\\"b\\\"\"\r\n\
                    content-type: text/plain\r\n\r\n";
        form.extend(head.bytes().chain(file.iter().copied()).chain(*b"\r\n--x y--\r\n"));
        form
    }

    #[test]
    fn fields_and_the_file_come_in_order() {
        let fields = [("Key".to_owned(), "a/${filename}".to_owned()), ("x".to_owned(), String::new())];
        let (found, name, data) = read([form(&fields, b"\r\n--x \r\n-").as_slice()]).unwrap();
        assert_eq!(found, [("key".into(), "a/${filename}".into()), ("x".into(), String::new())]);
        assert_eq!(name.as_deref(), Some("a \"b\""));
        assert_eq!(data, b"\r\n--x \r\n-");
    }

    #[test]
    fn names_of_files_may_be_paths_of_other_systems() {
        let head = "Content-Disposition: form-data; name=\"file\"; filename=\"C:\\a\\b.txt\"";
        assert_eq!(names(head), Some(("file".into(), Some("C:\\a\\b.txt".into()))));
        assert_eq!(names("Content-Disposition: attachment; name=\"file\""), None);
        assert_eq!(names("Content-Type: text/plain"), None);
        assert_eq!(names("Content-Disposition: form-data; name=\"file"), None);
    }

    #[test]
    fn what_is_no_form_is_told_apart() {
        assert!(Parser::new("multipart/form-data").is_err());
        assert!(Parser::new(&format!("multipart/form-data; boundary={}", "b".repeat(71))).is_err());
        let of = |text: &[u8]| read([text]).unwrap_err();
        assert_eq!(of(b""), FormError::Incomplete);
        assert_eq!(of(b"--x y--"), FormError::NoFile);
        assert_eq!(of(b"--x y\r\nno-head\r\n\r\n"), FormError::Malformed);
        assert_eq!(of(b"--x yz\r\n"), FormError::Malformed);
        let whole = form(&[], b"file");
        assert_eq!(of(&whole[..whole.len() - 12]), FormError::Incomplete);
    }

    #[test]
    fn what_stands_before_and_behind_the_file_has_bounds() {
        let field = |bytes: usize| form(&[("k".into(), "v".repeat(bytes))], b"");
        assert!(read([field(19 << 10).as_slice()]).is_ok());
        assert_eq!(read([field(20 << 10).as_slice()]).unwrap_err(), FormError::TooLong);
        assert_eq!(read([vec![b'a'; 30 << 10].as_slice()]).unwrap_err(), FormError::TooLong);
        let many = |count| form(&vec![("k".to_owned(), String::new()); count], b"");
        assert!(read([many(100).as_slice()]).is_ok());
        assert_eq!(read([many(101).as_slice()]).unwrap_err(), FormError::TooLong);
        let (whole, after) = (form(&[], b""), vec![0; 20 << 10]);
        assert!(read([whole.as_slice(), &after]).is_ok());
        assert_eq!(read([whole.as_slice(), &after, b"x"]).unwrap_err(), FormError::TooLong);
    }

    proptest! {
        #[test]
        fn any_split_of_the_bytes_gives_the_same(
            fields in prop::collection::vec(("[a-z]{1,8}", "[\r\n x-]{0,20}"), 0..5),
            file in prop::collection::vec(prop::sample::select(b"\r\n-x y".to_vec()), 0..200),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let whole = form(&fields, &file);
            let once = read([whole.as_slice()]);
            let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(whole.len())).collect();
            places.extend([0, whole.len()]);
            places.sort_unstable();
            let pieces = places.windows(2).map(|pair| &whole[pair[0]..pair[1]]);
            prop_assert_eq!(read(pieces), once.clone());
            prop_assert_eq!(read(whole.chunks(1)), once);
        }

        #[test]
        fn a_file_comes_out_as_it_went_in(file in prop::collection::vec(any::<u8>(), 0..2000)) {
            let (_, _, data) = read([form(&[], &file).as_slice()]).unwrap();
            prop_assert_eq!(data, file);
        }

        #[test]
        fn anything_ends(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
            let _ = read([b"--x y\r\n".as_slice(), &bytes]);
        }
    }
}
