//! `[nfs]` and `[[share]]`: what clients see.

use super::names::{ExportPath, Name};
use super::network::{Listen, Network};
use super::quota::Quota;
use super::schema::table;
use super::values::{Span, choice};

table! {
    /// The NFS server. MOUNT is answered on the same ports.
    pub struct Nfs("nfs", once) {
        /// Where it listens.
        listen: Vec<Listen>, default(vec!["0.0.0.0:2049".parse().expect("an address and a port")]);
        /// Where a port mapper of our own listens, for clients that ask for one and `showmount`
        /// (usually `0.0.0.0:111`). Leave it empty when the system has `rpcbind`, or when clients
        /// mount with `port=` and `mountport=`. Where somebody else listens there, he is told the ports as with
        /// `rpcbind`.
        portmap: Vec<Listen>, default(Vec::new());
        /// Tell the port mapper of this machine (`rpcbind`, at port 111 of the loopback) the ports of NFS and MOUNT, for
        /// clients that ask it and `showmount`. What another NFS server has registered there is replaced. The gateway
        /// serves without it too, and asks again every minute. Clients over IPv6 still have to be given the ports.
        rpcbind: bool, default(false);
        /// Take the groups of users from this machine (its files, its directory service) instead of
        /// from their calls, which carry 16 at most. A user whom this machine does not know keeps the
        /// groups of the call. Changing it needs a restart.
        server_groups: bool, default(false);
    }
}

choice! {
    /// Which users of clients lose their identity.
    pub enum Squash {
        /// User 0 and group 0 become anonymous.
        Root = "root",
        /// Everybody becomes anonymous.
        All = "all",
        /// Nobody: root on a client is root here.
        None = "none",
    }
}

choice! {
    /// What of a share that was taken over comes from the repository before somebody asks for it.
    pub enum Warm {
        /// What was used lately, as far as the cache has room: tree nodes first, then the hottest data.
        Hot = "hot",
        /// That, then everything else.
        All = "all",
        /// Nothing: everything is fetched when it is asked for.
        None = "none",
    }
}

choice! {
    /// What happens to writes while it is unknown whether another gateway has taken the share over.
    pub enum OnStoreLost {
        /// They go on: the backlog grows, and becomes a branch if a takeover is found later.
        Continue = "continue",
        /// They wait until the store answers again.
        Stop = "stop",
    }
}

table! {
    /// A share: a tree of files, served over NFS and kept in the repository.
    pub struct Share("share", repeated) {
        /// What it is called in commands, and in the repository: another name is another share.
        name: Name, required;
        /// The path that clients mount. Without it: `/` and the name.
        export: ExportPath, optional;
        /// Recovery point objective: how old the newest published head may become, so what a
        /// disaster may cost.
        rpo: Span, default(Span::seconds(30)) in Span::seconds(1), Span::days(1);
        /// Recovery time objective: how soon a client must be able to read a first file after a disaster, where nothing is
        /// left but the repository and its key. `tidegate dr plan` predicts it; a share for which it cannot be kept on
        /// the link as it was measured is refused when the settings are loaded while the gateway runs, and is an alarm.
        rto: Span, optional in Span::seconds(1), Span::days(365);
        /// The same for what was used lately: how soon it must be in the cache of the machine that takes over.
        rto_hot: Span, optional in Span::seconds(1), Span::days(365);
        /// The same for everything.
        rto_whole: Span, optional in Span::seconds(1), Span::days(3_650);
        /// Accept that `rto`, `rto_hot` and `rto_whole` may not be kept: nothing is refused, and no alarm raised.
        accept_risk: bool, default(false);
        /// What comes from the repository before somebody asks for it, once the share was attached here.
        warm: Warm, default(Warm::Hot);
        /// Networks whose machines may mount it. Without any: this machine alone.
        clients: Vec<Network>, default(vec![
            "127.0.0.0/8".parse().expect("a network"), "::1/128".parse().expect("a network"),
        ]);
        /// Refuse calls from ports of 1024 and above, which any user of a client's machine may use.
        /// Clients behind address translation and clients that are no kernel come from such ports:
        /// this keeps them out.
        secure_ports: bool, default(false);
        /// Refuse every change by clients.
        read_only: bool, default(false);
        /// Serve, read-only, what another gateway publishes, and follow it.
        follow: bool, default(false);
        /// Which users of clients lose their identity.
        squash: Squash, default(Squash::Root);
        /// The user id of the anonymous.
        anonymous_uid: u32, default(65534);
        /// The group id of the anonymous.
        anonymous_gid: u32, default(65534);
        /// Show retained heads and snapshots, read-only, as `.snapshot` in each directory. It stands in no listing.
        snapshot_folder: bool, default(true);
        /// How much its files may use: bytes of data (holes and extended attributes do not count), and
        /// inodes. A change that would pass a hard limit is refused, and so is one above a soft
        /// limit once that has been exceeded for as long as the grace period. Takes effect at
        /// once, also below what is used: then nothing grows. Without it: as much as there is room.
        quota: Quota, optional;
        /// Ask the store for packs that sleep in its archive when somebody reads a file in them: within hours the file can be
        /// read. Without it reads of such files are told to try later until somebody calls `tidegate thaw`. What that may
        /// cost is bounded by `thaw_daily` in [[archive]].
        thaw_on_read: bool, default(false);
        /// What happens to writes while the store does not answer.
        on_store_lost: OnStoreLost, default(OnStoreLost::Continue);
        /// Keep handles valid after a takeover that may have lost acknowledged changes: clients then go on without
        /// mounting anew, and mix what they have in their caches with what is there.
        keep_handles: bool, default(false);
        /// Keep the share in a key domain of its own: nothing is deduplicated with other shares,
        /// and dropping that key destroys it alone. Fixed when the share is made.
        own_key: bool, default(false);
    }
}

impl Share {
    /// The path that clients mount.
    pub fn export_path(&self) -> ExportPath {
        self.export
            .clone()
            .unwrap_or_else(|| format!("/{}", self.name).parse().expect("a name is a legal path component"))
    }
}
