//! The port mapper, version 2 (RFC 1833 section 3): where clients ask for the ports of the others.
//!
//! It tells of the programs of this server and of nothing else: SET and UNSET are refused, and
//! CALLIT, with which one host can be made to call another, does not exist here. Where the machine has a port mapper
//! already, the programs are registered with that one instead (`portmap/registration.rs`).

mod registration;

use async_trait::async_trait;

use crate::rpc::{Answer, Procedure, Program, Request};
use crate::xdr::{Body, DecodeError, Decoder, Encoder};

pub(crate) use registration::Registration;

/// The program number of the port mapper.
pub const PORTMAP_PROGRAM: u32 = 100_000;
/// Where clients look for a port mapper (RFC 1833 section 3).
pub const PORTMAP_PORT: u16 = 111;

const NULL: u32 = 0;
const SET: u32 = 1;
const UNSET: u32 = 2;
const GETPORT: u32 = 3;
const DUMP: u32 = 4;

const PROCEDURES: &[Procedure] = &[
    Procedure::plain("PORTMAP_NULL"),
    Procedure::plain("PORTMAP_SET"),
    Procedure::plain("PORTMAP_UNSET"),
    Procedure::plain("PORTMAP_GETPORT"),
    Procedure::plain("PORTMAP_DUMP"),
];

/// The protocol below a program, with its number in the port mapper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Streams.
    Tcp = 6,
    /// Datagrams.
    Udp = 17,
}

/// Where a version of a program is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Program number.
    pub program: u32,
    /// Program version.
    pub version: u32,
    /// What it is served over.
    pub protocol: Protocol,
    /// At which port.
    pub port: u16,
}

/// The port mapper over a fixed list.
pub struct Portmap {
    mappings: Vec<Mapping>,
}

impl Portmap {
    /// Tells of `mappings`.
    pub fn new(mappings: Vec<Mapping>) -> Self {
        Self { mappings }
    }

    fn get_port(&self, request: &Request) -> Result<Answer, DecodeError> {
        let mut arguments = Decoder::new(request.arguments.clone());
        let (program, version, protocol) = (arguments.u32()?, arguments.u32()?, arguments.u32()?);
        let mut out = Encoder::new();
        out.u32(u32::from(self.port(program, version, protocol)));
        Ok(Answer::success(out.finish()))
    }

    /// Zero when there is none. A version that is not served gets the port of one that is, so that
    /// the client hears from the program itself which versions there are.
    fn port(&self, program: u32, version: u32, protocol: u32) -> u16 {
        let over = self.mappings.iter().filter(|known| known.protocol as u32 == protocol);
        let mut served = over.filter(|known| known.program == program);
        let exact = served.clone().find(|known| known.version == version);
        exact.or_else(|| served.next()).map_or(0, |known| known.port)
    }

    fn dump(&self) -> Answer {
        let mut out = Encoder::new();
        for mapping in &self.mappings {
            out.boolean(true);
            out.u32(mapping.program);
            out.u32(mapping.version);
            out.u32(mapping.protocol as u32);
            out.u32(u32::from(mapping.port));
        }
        out.boolean(false);
        Answer::success(out.finish())
    }
}

#[async_trait]
impl Program for Portmap {
    fn number(&self) -> u32 {
        PORTMAP_PROGRAM
    }

    fn versions(&self) -> &'static [u32] {
        &[2]
    }

    fn procedures(&self, _version: u32) -> &'static [Procedure] {
        PROCEDURES
    }

    fn results_bytes_max(&self, _request: &Request) -> usize {
        4 + 20 * self.mappings.len()
    }

    async fn call(&self, request: Request) -> Answer {
        match request.procedure {
            NULL => Answer::success(Body::default()),
            SET | UNSET => {
                let mut out = Encoder::new();
                out.boolean(false);
                Answer::success(out.finish())
            }
            GETPORT => self.get_port(&request).unwrap_or(Answer::GarbageArguments),
            DUMP => self.dump(),
            _ => Answer::ProcedureUnavailable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_that_is_not_served_gets_the_port_of_one_that_is() {
        let nfs = Mapping { program: 100_003, version: 3, protocol: Protocol::Tcp, port: 2049 };
        let portmap = Portmap::new(vec![nfs]);
        assert_eq!(portmap.port(100_003, 3, 6), 2049);
        assert_eq!(portmap.port(100_003, 4, 6), 2049);
        assert_eq!(portmap.port(100_003, 3, 17), 0);
        assert_eq!(portmap.port(100_024, 1, 6), 0);
    }
}
