//! Credentials: AUTH_NONE and AUTH_SYS (RFC 5531 sections 8 and 9, appendix A).
//!
//! Every length is bounded before it is used. A credential of another flavour, or one that breaks
//! its own rules, is denied with the status that the RFC has for it; the connection goes on.

use bytes::Bytes;

use crate::xdr::{DecodeError, Decoder};

/// The longest body of a credential or verifier, in bytes.
pub(super) const CREDENTIAL_BYTES_MAX: usize = 400;
/// The longest machine name in an AUTH_SYS credential, in bytes.
const MACHINE_NAME_BYTES_MAX: usize = 255;
/// How many groups an AUTH_SYS credential holds besides the primary one.
pub const GROUPS_MAX: usize = 16;

const AUTH_NONE: u32 = 0;
const AUTH_SYS: u32 = 1;
const AUTH_SHORT: u32 = 2;

/// Why a credential was not accepted (auth_stat).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthStatus {
    /// Malformed, or of a flavour that is not served.
    BadCredential = 1,
    /// The client must begin a new session: the answer to AUTH_SHORT, which is never given out.
    RejectedCredential = 2,
    /// Malformed verifier.
    BadVerifier = 3,
}

/// Who a call says that it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// AUTH_NONE: nobody in particular.
    None,
    /// AUTH_SYS: as the client's kernel says.
    Sys {
        /// User id.
        uid: u32,
        /// Primary group id.
        gid: u32,
        /// Further groups, at most [`GROUPS_MAX`].
        gids: Vec<u32>,
    },
}

impl Credential {
    /// Takes credential and verifier off the front of `decoder`.
    pub(super) fn decode(decoder: &mut Decoder) -> Result<Self, AuthStatus> {
        let (flavour, body) = opaque_auth(decoder).map_err(|_| AuthStatus::BadCredential)?;
        opaque_auth(decoder).map_err(|_| AuthStatus::BadVerifier)?;
        match flavour {
            AUTH_NONE => Ok(Self::None),
            AUTH_SYS => sys(body).map_err(|_| AuthStatus::BadCredential),
            AUTH_SHORT => Err(AuthStatus::RejectedCredential),
            _ => Err(AuthStatus::BadCredential),
        }
    }
}

fn opaque_auth(decoder: &mut Decoder) -> Result<(u32, Bytes), DecodeError> {
    Ok((decoder.u32()?, decoder.opaque(CREDENTIAL_BYTES_MAX)?))
}

fn sys(body: Bytes) -> Result<Credential, DecodeError> {
    let mut decoder = Decoder::new(body);
    let _stamp = decoder.u32()?;
    let _machine = decoder.opaque(MACHINE_NAME_BYTES_MAX)?;
    let uid = decoder.u32()?;
    let gid = decoder.u32()?;
    let count = decoder.length(GROUPS_MAX)?;
    let gids = (0..count).map(|_| decoder.u32()).collect::<Result<_, _>>()?;
    Ok(Credential::Sys { uid, gid, gids })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xdr::Encoder;

    fn decode(flavour: u32, body: &[u8], verifier: &[u8]) -> Result<Credential, AuthStatus> {
        let mut encoder = Encoder::new();
        encoder.u32(flavour);
        encoder.opaque(body);
        encoder.u32(AUTH_NONE);
        encoder.opaque(verifier);
        Credential::decode(&mut Decoder::new(Bytes::from(encoder.finish().to_vec())))
    }

    fn sys_body(machine: usize, groups: u32) -> Vec<u8> {
        let mut encoder = Encoder::new();
        encoder.u32(1);
        encoder.opaque(&vec![b'm'; machine]);
        encoder.u32(1000);
        encoder.u32(100);
        encoder.u32(groups);
        (0..groups).for_each(|group| encoder.u32(group));
        encoder.finish().to_vec()
    }

    #[test]
    fn sixteen_groups_are_taken_and_seventeen_are_not() {
        let Ok(Credential::Sys { uid: 1000, gid: 100, gids }) = decode(1, &sys_body(10, 16), b"") else {
            panic!("a full credential is refused")
        };
        assert_eq!(gids, (0..16).collect::<Vec<_>>());
        assert_eq!(decode(1, &sys_body(10, 17), b""), Err(AuthStatus::BadCredential));
    }

    #[test]
    fn every_oversize_part_is_denied() {
        assert_eq!(decode(1, &sys_body(256, 1), b""), Err(AuthStatus::BadCredential));
        assert_eq!(decode(0, &[0; 404], b""), Err(AuthStatus::BadCredential));
        assert_eq!(decode(0, b"", &[0; 404]), Err(AuthStatus::BadVerifier));
    }

    #[test]
    fn flavours_that_are_not_served_are_denied_each_with_its_status() {
        assert_eq!(decode(2, b"", b""), Err(AuthStatus::RejectedCredential));
        assert_eq!(decode(6, b"", b""), Err(AuthStatus::BadCredential));
        assert_eq!(decode(0, b"", b""), Ok(Credential::None));
    }
}
