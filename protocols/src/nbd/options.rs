//! What an option says: from the bytes of a client to values, within bounds.

use super::wire::option;

/// The longest data of an option, in bytes; what is longer ends the connection.
pub(super) const OPTION_BYTES_MAX: u32 = 64 << 10;
/// The longest name of an export, and the longest query, in bytes (the specification's bound on strings).
const STRING_BYTES_MAX: usize = 4096;

/// An option that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Begin with this export, or close.
    ExportName(String),
    /// End.
    Abort,
    /// Which exports are there.
    List,
    /// Speak TLS.
    StartTls,
    /// What is known of an export; `go`: and begin with it.
    Info { name: String, wanted: Vec<u16>, go: bool },
    /// Use structured replies.
    StructuredReply,
    /// Which meta contexts are there; `set`: and use those that match.
    MetaContext { name: String, queries: Vec<String>, set: bool },
    /// Something that this server does not know.
    Unknown,
}

/// Why an option is refused; for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It makes no sense.
    Invalid(&'static str),
    /// A string in it is too long.
    TooBig(&'static str),
}

/// Takes an option apart.
pub(super) fn decode(number: u32, data: &[u8]) -> Result<Asked, Refused> {
    let mut fields = Fields(data);
    let asked = match number {
        option::EXPORT_NAME => Asked::ExportName(text(fields.take(data.len())?)?),
        // What comes with it is of no interest, by the specification.
        option::ABORT => return Ok(Asked::Abort),
        option::LIST => Asked::List,
        option::STARTTLS => Asked::StartTls,
        option::STRUCTURED_REPLY => Asked::StructuredReply,
        option::INFO | option::GO => {
            let name = fields.string()?;
            let count = fields.u16()?;
            let wanted = (0..count).map(|_| fields.u16()).collect::<Result<_, _>>()?;
            Asked::Info { name, wanted, go: number == option::GO }
        }
        option::LIST_META_CONTEXT | option::SET_META_CONTEXT => {
            let name = fields.string()?;
            let count = fields.u32()?;
            // Each takes four bytes at least, so a count that is too high ends at the end of the data.
            let queries = (0..count).map(|_| fields.string()).collect::<Result<_, _>>()?;
            Asked::MetaContext { name, queries, set: number == option::SET_META_CONTEXT }
        }
        _ => return Ok(Asked::Unknown),
    };
    if fields.0.is_empty() {
        Ok(asked)
    } else {
        Err(Refused::Invalid("there is more data than the option has"))
    }
}

/// The rest of the data.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Refused> {
        let (taken, rest) =
            self.0.split_at_checked(length).ok_or(Refused::Invalid("the data ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn u16(&mut self) -> Result<u16, Refused> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn u32(&mut self) -> Result<u32, Refused> {
        self.take(4).map(|bytes| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn string(&mut self) -> Result<String, Refused> {
        let length = self.u32()? as usize;
        text(self.take(length)?)
    }
}

fn text(bytes: &[u8]) -> Result<String, Refused> {
    if bytes.len() > STRING_BYTES_MAX {
        return Err(Refused::TooBig("a string is longer than 4096 bytes"));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| Refused::Invalid("a string is not UTF-8"))?;
    if text.contains('\0') { Err(Refused::Invalid("a string has a zero byte")) } else { Ok(text.to_owned()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn options_mean_what_the_specification_says() {
        let go = [&3u32.to_be_bytes()[..], b"vol", &2u16.to_be_bytes(), &[0, 3, 0, 1]].concat();
        let asked = Asked::Info { name: "vol".into(), wanted: vec![3, 1], go: true };
        assert_eq!(decode(option::GO, &go), Ok(asked));
        let meta = [&0u32.to_be_bytes()[..], &1u32.to_be_bytes(), &5u32.to_be_bytes(), b"base:"].concat();
        let asked = Asked::MetaContext { name: String::new(), queries: vec!["base:".into()], set: false };
        assert_eq!(decode(option::LIST_META_CONTEXT, &meta), Ok(asked));
        assert_eq!(decode(option::EXPORT_NAME, b"vol"), Ok(Asked::ExportName("vol".into())));
        assert_eq!(decode(option::ABORT, b"why"), Ok(Asked::Abort));
        assert_eq!(decode(4242, b"why"), Ok(Asked::Unknown));
    }

    #[test]
    fn what_is_cut_short_or_too_long_is_refused() {
        let go = [&3u32.to_be_bytes()[..], b"vol", &2u16.to_be_bytes(), &[0, 3, 0, 1]].concat();
        for length in 0..go.len() {
            assert!(matches!(decode(option::GO, &go[..length]), Err(Refused::Invalid(_))), "{length}");
        }
        assert!(decode(option::GO, &[&go[..], b"x"].concat()).is_err());
        assert!(decode(option::LIST, b"x").is_err());
        assert!(matches!(decode(option::EXPORT_NAME, &[b'x'; 4097]), Err(Refused::TooBig(_))));
        let many = [&0u32.to_be_bytes()[..], &u32::MAX.to_be_bytes()].concat();
        assert!(decode(option::SET_META_CONTEXT, &many).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm(number in 0u32..12, data in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(number, &data);
        }
    }
}
