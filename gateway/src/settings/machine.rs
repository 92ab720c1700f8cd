//! `[[machine]]`: virtual machines whose disks are volumes.
//!
//! What a provider does with the values is in [`crate::machine`]; here they are only checked.

use super::names::{CloudWord, LocalPath, Name, Region};
use super::network::Url;
use super::policy::Argument;
use super::problems::Problems;
use super::repository::Credentials;
use super::schema::table;
use super::values::{Size, Span, choice};
use super::{HostName, Settings, check};

/// The most machines of one gateway.
const MACHINES_MAX: usize = 1_000;
/// The most disks of one machine.
const DISKS_MAX: usize = 16;
/// The most tags of one's own: EC2 allows 50 on a thing, and some of those are ours.
const TAGS_MAX: usize = 40;
/// The tag of what a drill made.
const DRILL_TAG: &str = "tidegate:drill";
/// Whether this program was built with the provider `ec2`.
const HAS_EC2: bool = cfg!(feature = "ec2");

choice! {
    /// Who runs a machine.
    pub enum ProviderKind {
        /// QEMU on this machine.
        Qemu = "qemu",
        /// Commands of the operator: for libvirt, Proxmox, a cloud's own program.
        Command = "command",
        /// Amazon EC2, over copies of the disks as EBS snapshots; in builds with the feature `ec2`.
        Ec2 = "ec2",
    }
}

impl ProviderKind {
    /// Whether machines have copies of the volumes, as they were published last, instead of reading them over NBD.
    pub const fn copies_disks(self) -> bool {
        match self {
            Self::Qemu | Self::Command => false,
            Self::Ec2 => true,
        }
    }
}

choice! {
    /// The processors of an instance.
    pub enum Architecture {
        /// Those of Intel and AMD.
        X86 = "x86_64",
        /// Those of Arm, as Graviton is one.
        Arm = "arm64",
    }
}

choice! {
    /// How an instance boots from its first disk.
    pub enum BootMode {
        /// By a boot sector.
        Bios = "legacy-bios",
        /// By an EFI system partition.
        Uefi = "uefi",
        /// By an EFI system partition where the kind of instance can, else by a boot sector.
        Either = "uefi-preferred",
    }
}

table! {
    /// A virtual machine whose disks are volumes. Runbooks start it, and `tidegate machine`; the gateway never does by
    /// itself.
    pub struct Machine("machine", repeated) {
        /// What it is called in commands and runbooks.
        name: Name, required;
        /// Who runs it.
        provider: ProviderKind, required;
        /// Its disks, in order: names of volumes. It boots from the first.
        volumes: Vec<Name>, required;
        /// Its memory. With `ec2` the `instance_type` says it, and how many processors there are.
        memory: Size, default(Size::gib(1)) in Size::mib(16), Size::tib(16);
        /// Its processors.
        cpus: u32, default(1) in 1, 1_024;
        /// Where the machine finds the NBD server, if that is not where the server listens: the name or address of
        /// this gateway as the machine's host sees it.
        nbd_host: HostName, optional;
        /// With `qemu`: the program. Without it: `qemu-system-x86_64`, where programs are.
        program: LocalPath, optional;
        /// With `qemu`: arguments besides those of memory, processors, disks and console, such as `-accel`, `kvm`,
        /// `-netdev`, ... for its network. Without any it has no network, and the fastest acceleration that there is.
        arguments: Vec<Argument>, default(Vec::new());
        /// With `qemu`: the arguments instead of those in a drill of a runbook, where it must not meet production. Without any it
        /// has no network there.
        drill_arguments: Vec<Argument>, default(Vec::new());
        /// With `command`: the program that starts it and returns, with its arguments, without a shell. In them and in those below,
        /// `{name}` is the name that the machine runs under, `{memory_mib}`, `{cpus}`, `{disk0}` the address of its first disk
        /// (`nbd://host:port/export`), `{disks}` all of them with commas between, and `{id}` the last line that the start
        /// printed. The same stand in the environment, as `TIDEGATE_NAME`, `TIDEGATE_DISK0` and so on.
        start: Vec<Argument>, default(Vec::new());
        /// With `command`: what starts it in a drill of a runbook, apart from production. Without it drills leave it out. A drill runs
        /// it under another name, so `stop` and `state` must then tell machines apart by `{name}` or `{id}`.
        drill_start: Vec<Argument>, default(Vec::new());
        /// With `command`: what stops it, and takes away what the start made. It is no error when nothing runs.
        stop: Vec<Argument>, default(Vec::new());
        /// With `command`: what says whether it runs: it ends with 0 if so, with 3 if not (as `systemctl status`), and
        /// with anything else when that is not known.
        state: Vec<Argument>, default(Vec::new());
        /// With `ec2`: the region.
        region: Region, optional;
        /// With `ec2`: where EC2 and the EBS direct APIs answer, if not where AWS has them in that region.
        endpoint: Url, optional;
        /// With `ec2`: where the access key comes from. What it must be allowed to do is in the guide "A machine in a cloud".
        credentials: Credentials, default(Credentials::Ambient);
        /// With `ec2`: an HTTP proxy between here and AWS.
        proxy: Url, optional;
        /// With `ec2`: a PEM file with the certificates to trust instead of the system's.
        ca_file: LocalPath, optional;
        /// With `ec2`: the kind of instance, such as `t3.large`.
        instance_type: CloudWord, optional;
        /// With `ec2`: the processors that what is on the disks is made for.
        architecture: Architecture, default(Architecture::X86);
        /// With `ec2`: how it boots from its first disk.
        boot_mode: BootMode, default(BootMode::Bios);
        /// With `ec2`: the subnet that the instance is in.
        subnet: CloudWord, optional;
        /// With `ec2`: its security groups. Without any: the default one of the VPC.
        security_groups: Vec<CloudWord>, default(Vec::new());
        /// With `ec2`: the name of the instance profile whose role what runs there has. In drills it has none.
        instance_profile: CloudWord, optional;
        /// With `ec2`: the subnet in a drill of a runbook, where it must not meet production. Without it drills leave the machine out.
        drill_subnet: CloudWord, optional;
        /// With `ec2`: the security groups in a drill.
        drill_security_groups: Vec<CloudWord>, default(Vec::new());
        /// With `ec2`: tags as `key=value` for everything that is made there, besides those of ours (`tidegate:...`).
        tags: Vec<CloudWord>, default(Vec::new());
        /// With `ec2`: what the machine wrote stays when it is stopped: its EBS volumes are not deleted with the instance. Those of
        /// a drill always are, and those of scratch disks.
        keep_disks: bool, default(true);
        /// How long starting may take, and stopping before it is done by force.
        timeout: Span, default(Span::seconds(120)) in Span::seconds(1), Span::days(1);
    }
}

impl Machine {
    /// The same as a drill runs it, under a name of the drill; none if it is left out of drills.
    pub fn for_drill(&self, name: Name) -> Option<Self> {
        let Self { drill_arguments: arguments, drill_start: start, drill_subnet, .. } = self.clone();
        let is_left_out = match self.provider {
            ProviderKind::Qemu => false,
            ProviderKind::Command => start.is_empty(),
            ProviderKind::Ec2 => drill_subnet.is_none(),
        };
        let mut tags = self.tags.clone();
        if self.provider == ProviderKind::Ec2 {
            tags.extend(format!("{DRILL_TAG}={name}").parse());
        }
        let of_drill = Self {
            name,
            arguments,
            start,
            drill_arguments: Vec::new(),
            drill_start: Vec::new(),
            nbd_host: None,
            subnet: drill_subnet,
            security_groups: self.drill_security_groups.clone(),
            instance_profile: None,
            drill_subnet: None,
            drill_security_groups: Vec::new(),
            tags,
            keep_disks: self.provider != ProviderKind::Ec2 && self.keep_disks,
            ..self.clone()
        };
        (!is_left_out).then_some(of_drill)
    }

    /// Whether it is one that [`Self::for_drill`] has made.
    pub fn is_of_drill(&self) -> bool {
        self.tag_pairs().any(|(key, _)| key == DRILL_TAG)
    }

    /// What is written of `tags`, in two; one without a value has an empty one.
    pub fn tag_pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.tags.iter().map(|tag| tag.as_str().split_once('=').unwrap_or((tag.as_str(), "")))
    }
}

impl Settings {
    /// The machine of that name.
    pub fn machine(&self, name: &str) -> Option<&Machine> {
        self.machines.iter().find(|machine| machine.name.as_str() == name)
    }
}

/// Notes what does not fit together within machines, and between them and other tables.
pub(super) fn machines_fit(settings: &Settings, problems: &mut Problems<'_>) {
    if settings.machines.len() > MACHINES_MAX {
        let message = format!("stands {} times; write at most {MACHINES_MAX}", settings.machines.len());
        problems.add("machine", None, message);
    }
    check::distinct("machine", "name", settings.machines.iter().map(|machine| &machine.name), problems);
    for machine in &settings.machines {
        let mut note = |key: &str, what: String| {
            problems.add(&format!("machine.{}.{key}", machine.name), None, what);
        };
        for volume in machine.volumes.iter().filter(|name| settings.volume(name.as_str()).is_none()) {
            note("volumes", format!("names no volume: there is no [[volume]] \"{volume}\""));
        }
        if machine.volumes.is_empty() || machine.volumes.len() > DISKS_MAX {
            note("volumes", format!("has {} names; write 1 to {DISKS_MAX}", machine.volumes.len()));
        }
        if settings.nbd.listen.is_empty() && !machine.provider.copies_disks() {
            note("volumes", "could not be reached: nbd.listen is empty; write at least one address".into());
        }
        provider_fits(settings, machine, &mut note);
    }
}

fn provider_fits(settings: &Settings, machine: &Machine, note: &mut impl FnMut(&str, String)) {
    for (provider, key) in keys_of_others(machine) {
        note(key, format!("is only for the provider {provider}"));
    }
    match machine.provider {
        ProviderKind::Qemu => {
            if settings.nbd.certificate.is_some() && !settings.nbd.plain_too {
                let why = "qemu speaks to the NBD server without TLS, which nbd.plain_too must allow";
                note("provider", why.into());
            }
        }
        ProviderKind::Command => commands_fit(machine, note),
        ProviderKind::Ec2 => ec2_fits(machine, note),
    }
}

/// Keys that are set and that its provider does not know, with the provider that does.
fn keys_of_others(machine: &Machine) -> impl Iterator<Item = (ProviderKind, &'static str)> {
    let (qemu, command, ec2) = (ProviderKind::Qemu, ProviderKind::Command, ProviderKind::Ec2);
    let set = [
        (qemu, "program", machine.program.is_some()),
        (qemu, "arguments", !machine.arguments.is_empty()),
        (qemu, "drill_arguments", !machine.drill_arguments.is_empty()),
        (command, "start", !machine.start.is_empty()),
        (command, "drill_start", !machine.drill_start.is_empty()),
        (command, "stop", !machine.stop.is_empty()),
        (command, "state", !machine.state.is_empty()),
        (ec2, "region", machine.region.is_some()),
        (ec2, "endpoint", machine.endpoint.is_some()),
        (ec2, "credentials", machine.credentials != Credentials::Ambient),
        (ec2, "proxy", machine.proxy.is_some()),
        (ec2, "ca_file", machine.ca_file.is_some()),
        (ec2, "instance_type", machine.instance_type.is_some()),
        (ec2, "architecture", machine.architecture != Architecture::X86),
        (ec2, "boot_mode", machine.boot_mode != BootMode::Bios),
        (ec2, "subnet", machine.subnet.is_some()),
        (ec2, "security_groups", !machine.security_groups.is_empty()),
        (ec2, "instance_profile", machine.instance_profile.is_some()),
        (ec2, "drill_subnet", machine.drill_subnet.is_some()),
        (ec2, "drill_security_groups", !machine.drill_security_groups.is_empty()),
        (ec2, "tags", !machine.tags.is_empty()),
    ];
    let own = machine.provider;
    set.into_iter()
        .filter(move |(provider, _, is_set)| *is_set && *provider != own)
        .map(|(provider, key, _)| (provider, key))
}

fn commands_fit(machine: &Machine, note: &mut impl FnMut(&str, String)) {
    if machine.drill_start.first().is_some_and(|program| !program.as_str().starts_with('/')) {
        note("drill_start", "must begin with the absolute path of a program".into());
    }
    let tells = |command: &[Argument]| {
        command.iter().any(|word| ["{name}", "{id}"].iter().any(|mark| word.as_str().contains(mark)))
    };
    for (key, command) in [("stop", &machine.stop), ("state", &machine.state)] {
        if !machine.drill_start.is_empty() && !tells(command) {
            note(
                key,
                "must have {name} or {id} in it: else a drill would stop the machine of production".into(),
            );
        }
    }
    for (key, command) in [("start", &machine.start), ("stop", &machine.stop), ("state", &machine.state)] {
        if !command.first().is_some_and(|program| program.as_str().starts_with('/')) {
            note(key, "must begin with the absolute path of a program".into());
        }
    }
}

fn ec2_fits(machine: &Machine, note: &mut impl FnMut(&str, String)) {
    if !HAS_EC2 {
        let why = "\"ec2\" is not in this build of tidegate; use one that was built with \
                   `cargo build --release --workspace --features tidegate-gateway/ec2`";
        note("provider", why.into());
    }
    let needed = [
        ("region", machine.region.is_some(), "such as \"eu-central-1\""),
        ("instance_type", machine.instance_type.is_some(), "such as \"t3.large\""),
        ("subnet", machine.subnet.is_some(), "such as \"subnet-0123456789abcdef0\""),
    ];
    for (key, _, example) in needed.iter().filter(|(_, is_set, _)| !is_set) {
        note(key, format!("must be set with the provider ec2: write one {example}"));
    }
    if machine.drill_subnet.is_some() && machine.drill_subnet == machine.subnet {
        note("drill_subnet", "is that of production, which a drill must not meet; write another".into());
    }
    if machine.architecture == Architecture::Arm && machine.boot_mode != BootMode::Uefi {
        note("boot_mode", "must be \"uefi\" with the architecture arm64".into());
    }
    for (key, _) in machine.tag_pairs() {
        let is_ours = key.starts_with("tidegate:") && key != DRILL_TAG;
        if key.is_empty() || is_ours || key.starts_with("aws:") {
            note(
                "tags",
                format!(
                    "has a tag {key:?}; write key=value, with a key that begins neither with tidegate: nor with aws:"
                ),
            );
        }
    }
    if machine.tags.len() > TAGS_MAX + usize::from(machine.is_of_drill()) {
        note("tags", format!("has {} elements; write at most {TAGS_MAX}", machine.tags.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "[repository]\nkey = { env = \"K\" }\n[[target]]\nname = \"t\"\naddress = \"file:///srv/r\"\n\
                        [[share]]\nname = \"vm\"\n[[volume]]\nname = \"web\"\nshare = \"vm\"\npath = \"/web\"\n";

    fn settings(tables: &str) -> Result<Settings, Vec<String>> {
        Settings::parse(&format!("{BASE}{tables}"))
            .map_err(|error| error.problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn both_providers_read_and_are_written_as_they_are_read() {
        let settings = settings(
            "[nbd]\nlisten = [\"127.0.0.1:10809\"]\n\
             [[machine]]\nname = \"web\"\nprovider = \"qemu\"\nvolumes = [\"web\"]\nmemory = \"512MiB\"\n\
             arguments = [\"-nic\", \"user\"]\n\
             [[machine]]\nname = \"far\"\nprovider = \"command\"\nvolumes = [\"web\"]\nnbd_host = \"gw.example.net\"\n\
             start = [\"/usr/local/bin/vm\", \"up\", \"{name}\", \"{disk0}\"]\nstop = [\"/usr/local/bin/vm\", \"down\"]\n\
             state = [\"/usr/local/bin/vm\", \"is-up\"]\n",
        )
        .expect("correct");
        assert_eq!(settings.machine("web").map(|machine| machine.memory), Some(Size::mib(512)));
        assert_eq!(Settings::parse(&settings.to_toml()), Ok(settings));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_key() {
        let nbd = "[nbd]\nlisten = [\"127.0.0.1:10809\"]\n";
        let machine = |keys: &str| format!("{nbd}[[machine]]\nname = \"m\"\n{keys}\n");
        for (tables, problem) in [
            (machine("provider = \"qemu\"\nvolumes = [\"no\"]"), "machine.m.volumes: names no volume"),
            (machine("provider = \"qemu\"\nvolumes = []"), "has 0 names"),
            (machine("provider = \"xen\"\nvolumes = [\"web\"]"), "is none of them"),
            (machine("provider = \"command\"\nvolumes = [\"web\"]"), "machine.m.start: must begin"),
            (
                machine("provider = \"qemu\"\nvolumes = [\"web\"]\nstop = [\"/x\"]"),
                "is only for the provider command",
            ),
            (
                machine("provider = \"qemu\"\nvolumes = [\"web\"]\nsubnet = \"subnet-1\""),
                "machine.m.subnet: is only for the provider ec2",
            ),
            (machine("provider = \"ec2\"\nvolumes = [\"web\"]"), "machine.m.region: must be set"),
            (
                machine("provider = \"ec2\"\nvolumes = [\"web\"]\nsubnet = \"s-1\"\ndrill_subnet = \"s-1\""),
                "is that of production",
            ),
            (
                machine("provider = \"ec2\"\nvolumes = [\"web\"]\ntags = [\"tidegate:owner=me\"]"),
                "has a tag \"tidegate:owner\"",
            ),
            (
                "[[machine]]\nname = \"m\"\nprovider = \"qemu\"\nvolumes = [\"web\"]\n".to_owned(),
                "nbd.listen is empty",
            ),
        ] {
            let problems = settings(&tables).expect_err(&tables);
            assert!(problems.iter().any(|found| found.contains(problem)), "{tables}\n{problems:#?}");
        }
    }

    const EC2: &str = "[[machine]]\nname = \"web\"\nprovider = \"ec2\"\nvolumes = [\"web\"]\nregion = \"eu-central-1\"\n\
                       instance_type = \"t3.small\"\nsubnet = \"subnet-1\"\nsecurity_groups = [\"sg-1\"]\n\
                       instance_profile = \"web\"\ntags = [\"cost=dr\"]\n";

    #[test]
    fn a_program_that_was_built_without_ec2_says_which_has_it() {
        let read = settings(EC2);
        assert_eq!(read.is_ok(), HAS_EC2, "{read:#?}");
        if let Err(problems) = read {
            let says = problems[0].contains("--features tidegate-gateway/ec2");
            assert!(says && problems.len() == 1, "{problems:#?}");
        }
    }

    #[test]
    fn a_drill_has_the_network_of_drills_and_no_role_and_leaves_no_disks() {
        let read = |keys: &str| {
            let document = format!("{EC2}{keys}").parse::<toml_edit::DocumentMut>().expect("TOML");
            let table =
                document["machine"].as_array_of_tables().and_then(|tables| tables.get(0)).expect("one");
            let json = table.iter().map(|(key, item)| (key.to_owned(), json_of(item))).collect();
            super::super::table_from_json::<Machine>(&serde_json::Value::Object(json)).expect("correct").0
        };
        let name = || "web-0a1b2c3d".parse::<Name>().expect("a name");
        assert_eq!(read("").for_drill(name()), None, "without a subnet of drills it is left out");
        let of_drill = read("drill_subnet = \"subnet-2\"\n").for_drill(name()).expect("it runs in drills");
        assert_eq!(of_drill.subnet.as_ref().map(CloudWord::as_str), Some("subnet-2"));
        assert!(of_drill.security_groups.is_empty() && of_drill.instance_profile.is_none());
        assert!(!of_drill.keep_disks);
        let tags: Vec<_> = of_drill.tag_pairs().collect();
        assert_eq!(tags, [("cost", "dr"), ("tidegate:drill", "web-0a1b2c3d")]);
        assert!(of_drill.is_of_drill() && !read("").is_of_drill());
    }

    fn json_of(item: &toml_edit::Item) -> serde_json::Value {
        match (item.as_str(), item.as_array()) {
            (Some(text), _) => text.into(),
            (None, Some(list)) => list.iter().filter_map(toml_edit::Value::as_str).collect::<Vec<_>>().into(),
            (None, None) => serde_json::Value::Null,
        }
    }
}
