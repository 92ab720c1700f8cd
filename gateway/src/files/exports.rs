//! Exports: under which path a share is seen, by whom, and as whom they act.

use std::net::{IpAddr, SocketAddr};

use tidegate_protocols::view::{Caller, FsError};

use crate::namespace::Credentials;
use crate::settings::Network;

/// The ports above this one are open to every user of a client's machine.
const SECURE_PORT_MAX: u16 = 1023;

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
    /// Whether clients see it at all.
    pub exported: bool,
    /// Who may; empty for everybody.
    pub clients: Vec<Network>,
    /// Whether calls must come from a port that only the superuser of a machine may use.
    pub secure_ports: bool,
    /// Whether nothing may be changed.
    pub read_only: bool,
    /// Who is squashed.
    pub squash: Squash,
    /// The user that squashed callers become.
    pub anonymous_uid: u32,
    /// The group that squashed callers become.
    pub anonymous_gid: u32,
    /// Whether retained states are seen as `.snapshot` in each directory.
    pub snapshot_folder: bool,
}

impl ExportRules {
    /// Whether a client may see the export at all.
    pub fn admits(&self, address: IpAddr) -> bool {
        let admitted = |network: &Network| network.contains(address);
        self.exported && (self.clients.is_empty() || self.clients.iter().any(admitted))
    }

    /// Refuses calls from ports that any user may use, where that is not allowed.
    pub fn require_port(&self, port: u16) -> Result<(), FsError> {
        if self.secure_ports && port > SECURE_PORT_MAX { Err(FsError::Access) } else { Ok(()) }
    }

    /// Refuses callers that the export is not for.
    pub fn require_admitted(&self, address: SocketAddr) -> Result<(), FsError> {
        if self.admits(address.ip()) { self.require_port(address.port()) } else { Err(FsError::Access) }
    }

    /// Whether a caller loses his identity.
    pub fn squashes(&self, caller: &Caller) -> bool {
        match self.squash {
            Squash::All => true,
            Squash::Root => caller.uid == 0,
            Squash::None => false,
        }
    }

    /// As whom a caller acts, by the groups that the call names.
    pub fn credentials(&self, caller: &Caller) -> Credentials {
        self.credentials_in(caller, &caller.gids)
    }

    /// As whom a caller acts who is in these groups besides his primary one.
    pub fn credentials_in(&self, caller: &Caller, groups: &[u32]) -> Credentials {
        if self.squashes(caller) {
            return Credentials { uid: self.anonymous_uid, gid: self.anonymous_gid, gids: Vec::new() };
        }
        // Squashing root includes its group, wherever it is named.
        let group = |gid: u32| if gid == 0 && self.squash == Squash::Root { self.anonymous_gid } else { gid };
        Credentials {
            uid: caller.uid,
            gid: group(caller.gid),
            gids: groups.iter().map(|gid| group(*gid)).collect(),
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
            exported: true,
            clients: vec!["10.1.0.0/16".parse().expect("a network"), "fd00::1".parse().expect("an address")],
            secure_ports: false,
            read_only: false,
            squash,
            anonymous_uid: 65534,
            anonymous_gid: 65534,
            snapshot_folder: true,
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
    }

    #[test]
    fn ports_that_any_user_may_use_are_refused_where_the_rules_say_so() {
        let address = |port| SocketAddr::new("10.1.0.1".parse().expect("an address"), port);
        let stranger = SocketAddr::new("10.2.0.1".parse().expect("an address"), 700);
        for (secure_ports, port, admitted) in [
            (true, 1, true),
            (true, 1023, true),
            (true, 1024, false),
            (true, 65535, false),
            (false, 1024, true),
        ] {
            let rules = ExportRules { secure_ports, ..rules(Squash::Root) };
            assert_eq!(rules.require_admitted(address(port)).is_ok(), admitted, "{secure_ports} {port}");
            assert_eq!(rules.require_admitted(stranger), Err(FsError::Access));
        }
    }

    #[test]
    fn groups_from_elsewhere_replace_those_of_the_call_and_are_squashed_alike() {
        let address = "10.1.0.1:700".parse().expect("an address");
        let caller = Caller { uid: 7, gid: 8, gids: vec![9], address };
        let found = rules(Squash::Root).credentials_in(&caller, &[0, 10, 11]);
        assert_eq!((found.uid, found.gid, found.gids), (7, 8, vec![65534, 10, 11]));
        assert!(rules(Squash::All).credentials_in(&caller, &[0, 10]).gids.is_empty());
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
