//! `[nbd]` and `[[volume]]`: files that clients see as disks.

use std::fmt;
use std::str::FromStr;

use super::names::{LocalPath, Name};
use super::network::{Listen, Network};
use super::problems::Problems;
use super::runbook::MomentText;
use super::schema::table;
use super::secret::SecretReference;
use super::values::{Size, Span, text_setting};
use super::{Settings, check};
use crate::control::FilePath;

/// The most volumes of one gateway.
const VOLUMES_MAX: usize = 1_000;
/// A volume is a whole number of these, in bytes: what the disks of virtual machines are counted in.
pub const SECTOR_BYTES: u64 = 512;

table! {
    /// The NBD server, which serves volumes. It is off while it listens nowhere. Changing it needs a restart.
    pub struct Nbd("nbd", once) {
        /// Where it listens, such as `0.0.0.0:10809`.
        listen: Vec<Listen>, default(Vec::new());
        /// The certificate chain in PEM, for TLS; `private_key` then too. Without both: no TLS, for networks that
        /// are trusted.
        certificate: LocalPath, optional;
        /// The key of the certificate, in PEM.
        private_key: SecretReference, optional;
        /// Certificates in PEM; a client must show one that one of these has signed.
        client_authority: LocalPath, optional;
        /// With a certificate: serve clients too that do not ask for TLS.
        plain_too: bool, default(false);
        /// Most connections at once.
        connections: u32, default(1_000) in 1, 100_000;
        /// How long a request waits for what cannot be had now (the store does not answer, too much waits to
        /// leave) before the client is told of an error. The protocol has no word for "try later", and a file
        /// system on a disk takes an error badly: so this is long.
        patience: Span, default(Span::seconds(600)) in Span::seconds(1), Span::days(7);
        /// The most bytes that all scratch volumes together keep on the local disk.
        scratch: Size, default(Size::gib(16)) in Size::mib(1), Size::tib(64);
    }
}

table! {
    /// A volume: a file of a share, served as a disk over NBD under this name. The file is kept, snapshotted and
    /// restored as all files of the share are.
    pub struct Volume("volume", repeated) {
        /// What clients call it.
        name: Name, required;
        /// The share that its file is in.
        share: Name, required;
        /// Where in the share the file is.
        path: VolumePath, required;
        /// How large the disk is. A file that is missing is made, of nothing but a hole; one that is shorter is made
        /// longer; none is made shorter (`tidegate volume resize` does). Without it the file must be there.
        size: Size, optional;
        /// Refuse every change.
        read_only: bool, default(false);
        /// Serve the file as it was at a moment of the share: `head`, `head:NAME`, `snapshot:NAME` or `at:TIME`. It
        /// is then read-only, unless it is `scratch`.
        moment: MomentText, optional;
        /// Take changes, and keep them on the local disk alone until the volume is served no more; nothing of them comes
        /// into the share. Without `moment`, what is below is the newest head of when it was first opened.
        scratch: bool, default(false);
        /// Networks whose machines may use it. Without any: this machine alone.
        clients: Vec<Network>, default(vec![
            "127.0.0.0/8".parse().expect("a network"), "::1/128".parse().expect("a network"),
        ]);
        /// Its share may not be here yet, or may follow another gateway: then the volume is not served until this gateway
        /// serves the share for good. For a place that takes over from another one.
        later: bool, default(false);
        /// When the first client comes, fetch what a recording says was read while a machine booted from it, in that
        /// order.
        warm: bool, default(true);
    }
}

/// A path in a share, not its root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumePath(FilePath);

impl VolumePath {
    /// The path.
    pub fn as_path(&self) -> &FilePath {
        &self.0
    }
}

impl FromStr for VolumePath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let path: FilePath = text.parse().map_err(|error| format!("is no path: {error}"))?;
        if path == FilePath::root() {
            Err("is the root, which is no file".to_owned())
        } else {
            Ok(Self(path))
        }
    }
}

impl fmt::Display for VolumePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

text_setting!(VolumePath, "a path in the share such as \"/disks/web.img\"");

impl Volume {
    /// Whether it leaves the file as it is.
    pub fn is_apart(&self) -> bool {
        self.scratch || self.moment.is_some()
    }
}

impl Settings {
    /// Whether a volume is not served yet: its share is not here, or follows another gateway.
    pub fn waits(&self, volume: &Volume) -> bool {
        let share = self.share(volume.share.as_str());
        volume.later && share.is_none_or(|share| share.follow && !volume.is_apart())
    }

    /// The volumes that are served.
    pub fn served_volumes(&self) -> impl Iterator<Item = &Volume> {
        self.volumes.iter().filter(|volume| !self.waits(volume))
    }

    /// The volume of that name.
    pub fn volume(&self, name: &str) -> Option<&Volume> {
        self.volumes.iter().find(|volume| volume.name.as_str() == name)
    }
}

/// Notes what does not fit together within volumes, and between them and other tables.
pub(super) fn volumes_fit(settings: &Settings, problems: &mut Problems<'_>) {
    let nbd = &settings.nbd;
    if nbd.certificate.is_some() != nbd.private_key.is_some() {
        problems.add("nbd.certificate", None, "and nbd.private_key belong together; set both or none");
    }
    if nbd.certificate.is_none() && (nbd.client_authority.is_some() || nbd.plain_too) {
        problems.add("nbd.certificate", None, "is missing; client_authority and plain_too are about TLS");
    }
    if settings.volumes.len() > VOLUMES_MAX {
        let message = format!("stands {} times; write at most {VOLUMES_MAX}", settings.volumes.len());
        problems.add("volume", None, message);
    }
    check::distinct("volume", "name", settings.volumes.iter().map(|volume| &volume.name), problems);
    for volume in &settings.volumes {
        volume_fits(settings, volume, problems);
    }
}

fn volume_fits(settings: &Settings, volume: &Volume, problems: &mut Problems<'_>) {
    let mut note = |key: &str, what: String| {
        problems.add(&format!("volume.{}.{key}", volume.name), None, what);
    };
    match settings.share(volume.share.as_str()) {
        _ if settings.waits(volume) => {}
        None => note("share", format!("names no share: there is no [[share]] \"{}\"", volume.share)),
        Some(share) if share.follow && !volume.is_apart() => {
            let why =
                "follows another gateway, so the disk would change below its client; set moment or scratch";
            note("share", why.into());
        }
        Some(share) if share.read_only && !volume.is_apart() && !volume.read_only => {
            note("read_only", "must be true: the share is read-only".into());
        }
        Some(_) => {}
    }
    let size = volume.size.map_or(SECTOR_BYTES, Size::bytes);
    if size == 0 || !size.is_multiple_of(SECTOR_BYTES) || size > i64::MAX as u64 {
        note("size", format!("must be a whole number of {SECTOR_BYTES} bytes, at least one, below 8 EiB"));
    }
    if volume.is_apart() && volume.size.is_some() {
        note("size", "is that of the file at that moment; leave it out with moment or scratch".into());
    }
    if volume.scratch && volume.read_only {
        note("scratch", "takes changes, and read_only refuses them; set one of them".into());
    }
    if volume.clients.is_empty() {
        note("clients", "is empty, so nobody could use it; name a network or leave the key out".into());
    }
    let file = |volume: &Volume| (volume.share.clone(), volume.path.to_string());
    let writes = |volume: &&Volume| !volume.is_apart() && !volume.read_only;
    let others = settings.volumes.iter().filter(|other| other.name != volume.name);
    if writes(&volume) && others.filter(writes).any(|other| file(other) == file(volume)) {
        note("path", "is the file of another volume that takes changes; two disks cannot be one".into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "[repository]\nkey = { env = \"K\" }\n[[target]]\nname = \"t\"\naddress = \"file:///srv/r\"\n\
                        [[share]]\nname = \"vm\"\n[[share]]\nname = \"far\"\nfollow = true\n";

    fn settings(tables: &str) -> Result<Settings, Vec<String>> {
        Settings::parse(&format!("{BASE}{tables}"))
            .map_err(|error| error.problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_volume_of_a_share_that_comes_later_waits() {
        let volume = |share: &str, keys: &str| {
            settings(&format!("[[volume]]\nname = \"web\"\nshare = \"{share}\"\npath = \"/d\"\n{keys}"))
        };
        let served =
            |share: &str, keys: &str| volume(share, keys).map(|settings| settings.served_volumes().count());
        assert_eq!((served("vm", "later = true\n"), served("lost", "later = true\n")), (Ok(1), Ok(0)));
        assert_eq!(served("far", "later = true\n"), Ok(0), "its share follows");
        assert_eq!(served("far", "later = true\nscratch = true\n"), Ok(1));
        assert!(volume("lost", "").is_err() && volume("far", "").is_err());
    }

    #[test]
    fn volumes_read_and_are_written_as_they_are_read() {
        let settings = settings(
            "[nbd]\nlisten = [\"0.0.0.0:10809\"]\npatience = \"1m\"\n\
             [[volume]]\nname = \"web\"\nshare = \"vm\"\npath = \"/disks/web.img\"\nsize = \"10GiB\"\n\
             [[volume]]\nname = \"old\"\nshare = \"far\"\npath = \"/d\"\nmoment = \"at:2026-11-20T14:05:00Z\"\n\
             [[volume]]\nname = \"try\"\nshare = \"far\"\npath = \"/d\"\nscratch = true\nwarm = false\n",
        )
        .expect("correct");
        assert!(!settings.volumes[0].is_apart() && settings.volumes[1].is_apart());
        assert_eq!(settings.volume("web").and_then(|volume| volume.size), Some(Size::gib(10)));
        assert_eq!(Settings::parse(&settings.to_toml()), Ok(settings));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_key() {
        let volume = |keys: &str| format!("[[volume]]\nname = \"v\"\n{keys}\n");
        let twice = [("a", ""), ("b", "")]
            .map(|(name, _)| format!("[[volume]]\nname = \"{name}\"\nshare = \"vm\"\npath = \"/d\"\n"))
            .concat();
        for (tables, problem) in [
            (volume("share = \"no\"\npath = \"/d\""), "volume.v.share: names no share"),
            (volume("share = \"vm\"\npath = \"/\""), "is the root"),
            (volume("share = \"vm\"\npath = \"d\""), "is no path"),
            (
                volume("share = \"vm\"\npath = \"/d\"\nsize = \"1000B\""),
                "volume.v.size: must be a whole number",
            ),
            (volume("share = \"vm\"\npath = \"/d\"\nsize = \"0B\""), "volume.v.size: must be a whole number"),
            (volume("share = \"vm\"\npath = \"/d\"\nmoment = \"live\""), "is no moment that can be"),
            (volume("share = \"vm\"\npath = \"/d\"\nscratch = true\nread_only = true"), "set one of them"),
            (volume("share = \"vm\"\npath = \"/d\"\nscratch = true\nsize = \"1MiB\""), "leave it out"),
            (volume("share = \"far\"\npath = \"/d\""), "volume.v.share: follows another gateway"),
            (volume("share = \"vm\"\npath = \"/d\"\nclients = []"), "volume.v.clients: is empty"),
            (twice, "is the file of another volume"),
            ("[nbd]\nplain_too = true\n".to_owned(), "nbd.certificate: is missing"),
            ("[nbd]\ncertificate = \"/c\"\n".to_owned(), "belong together"),
        ] {
            let problems = settings(&tables).expect_err(&tables);
            assert!(problems.iter().any(|found| found.contains(problem)), "{tables}\n{problems:#?}");
        }
    }
}
