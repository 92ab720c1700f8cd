//! Exports: under which path a share is seen, by whom, and as whom they act.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use tidegate_protocols::view::{Caller, FsError};

use crate::namespace::Credentials;

/// A network of clients, such as `10.0.0.0/8` or `fd00::/8`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix_bits: u8,
}

/// A text that is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a network: write an address, or an address, a slash and the number of leading bits that count")]
pub struct NetworkError;

impl Network {
    /// Whether an address lies in the network. IPv4 addresses that come mapped into IPv6 count as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let shift = 32 - u32::from(self.prefix_bits);
                let mask = u32::MAX.checked_shl(shift).unwrap_or(0);
                (u32::from(network) ^ u32::from(address)) & mask == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let shift = 128 - u32::from(self.prefix_bits);
                let mask = u128::MAX.checked_shl(shift).unwrap_or(0);
                (u128::from(network) ^ u128::from(address)) & mask == 0
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, bits) =
            text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| NetworkError)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = match bits {
            None => most,
            Some(bits) => bits.parse().ok().filter(|bits| *bits <= most).ok_or(NetworkError)?,
        };
        Ok(Self { address, prefix_bits })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_bits)
    }
}

/// Whose requests are carried out as the anonymous user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Squash {
    /// The superuser's.
    #[default]
    Root,
    /// Everybody's.
    All,
    /// Nobody's.
    None,
}

/// How a share is exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportRules {
    /// Where clients mount it: starts with `/`, does not end with it.
    pub path: String,
    /// Who may; empty for everybody.
    pub clients: Vec<Network>,
    /// Whether nothing may be changed.
    pub read_only: bool,
    /// Who is squashed.
    pub squash: Squash,
    /// The user that squashed callers become.
    pub anonymous_uid: u32,
    /// The group that squashed callers become.
    pub anonymous_gid: u32,
}

impl ExportRules {
    /// Whether a client may see the export at all.
    pub fn admits(&self, address: IpAddr) -> bool {
        self.clients.is_empty() || self.clients.iter().any(|network| network.contains(address))
    }

    /// As whom a caller acts.
    pub fn credentials(&self, caller: &Caller) -> Credentials {
        let squashed = match self.squash {
            Squash::All => true,
            Squash::Root => caller.uid == 0,
            Squash::None => false,
        };
        if squashed {
            return Credentials { uid: self.anonymous_uid, gid: self.anonymous_gid, gids: Vec::new() };
        }
        // Squashing root includes its group, wherever it is named.
        let group = |gid: u32| if gid == 0 && self.squash == Squash::Root { self.anonymous_gid } else { gid };
        Credentials {
            uid: caller.uid,
            gid: group(caller.gid),
            gids: caller.gids.iter().map(|gid| group(*gid)).collect(),
        }
    }

    /// Refuses changes of a read-only export.
    pub fn require_writable(&self) -> Result<(), FsError> {
        if self.read_only { Err(FsError::ReadOnly) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(squash: Squash) -> ExportRules {
        ExportRules {
            path: "/data".into(),
            clients: vec!["10.1.0.0/16".parse().expect("a network"), "fd00::1".parse().expect("an address")],
            read_only: false,
            squash,
            anonymous_uid: 65534,
            anonymous_gid: 65534,
        }
    }

    #[test]
    fn networks_admit_their_addresses_and_no_others() {
        let rules = rules(Squash::Root);
        for (address, admitted) in [
            ("10.1.255.1", true),
            ("10.2.0.1", false),
            ("::ffff:10.1.0.1", true),
            ("fd00::1", true),
            ("fd00::2", false),
        ] {
            assert_eq!(rules.admits(address.parse().expect("an address")), admitted, "{address}");
        }
        let everybody: Network = "0.0.0.0/0".parse().expect("a network");
        assert!(everybody.contains("192.0.2.1".parse().expect("an address")));
    }

    #[test]
    fn texts_that_are_no_networks_are_refused() {
        for text in ["", "10.0.0.0/33", "10.0.0/8", "host", "fd00::/129", "10.0.0.0/-1", "10.0.0.0/"] {
            assert_eq!(text.parse::<Network>(), Err(NetworkError), "{text}");
        }
    }

    #[test]
    fn squashing_takes_the_superuser_or_everybody() {
        let caller = |uid| Caller {
            uid,
            gid: 0,
            gids: vec![0, 5],
            address: "10.1.0.1:700".parse().expect("an address"),
        };
        assert_eq!(rules(Squash::Root).credentials(&caller(0)).uid, 65534);
        let user = rules(Squash::Root).credentials(&caller(7));
        assert_eq!((user.uid, user.gid, user.gids), (7, 65534, vec![65534, 5]));
        assert_eq!(rules(Squash::All).credentials(&caller(7)).uid, 65534);
        assert!(rules(Squash::None).credentials(&caller(0)).is_root());
    }
}
