//! `[[machine]]`: virtual machines whose disks are volumes.
//!
//! What a provider does with the values is in [`crate::machine`]; here they are only checked.

use super::names::{LocalPath, Name};
use super::policy::Argument;
use super::problems::Problems;
use super::schema::table;
use super::values::{Size, Span, choice};
use super::{HostName, Settings, check};

/// The most machines of one gateway.
const MACHINES_MAX: usize = 1_000;
/// The most disks of one machine.
const DISKS_MAX: usize = 16;

choice! {
    /// Who runs a machine.
    pub enum ProviderKind {
        /// QEMU on this machine.
        Qemu = "qemu",
        /// Commands of the operator: for libvirt, Proxmox, a cloud's own program.
        Command = "command",
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
        /// Its memory.
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
        /// How long starting may take, and stopping before it is done by force.
        timeout: Span, default(Span::seconds(120)) in Span::seconds(1), Span::days(1);
    }
}

impl Machine {
    /// The same as a drill runs it, under a name of the drill; none if it is left out of drills.
    pub fn for_drill(&self, name: Name) -> Option<Self> {
        let Self { drill_arguments: arguments, drill_start: start, .. } = self.clone();
        let is_left_out = self.provider == ProviderKind::Command && start.is_empty();
        let (drill_arguments, drill_start) = (Vec::new(), Vec::new());
        let of_drill =
            Self { name, arguments, start, drill_arguments, drill_start, nbd_host: None, ..self.clone() };
        (!is_left_out).then_some(of_drill)
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
        if settings.nbd.listen.is_empty() {
            note("volumes", "could not be reached: nbd.listen is empty; write at least one address".into());
        }
        provider_fits(settings, machine, &mut note);
    }
}

fn provider_fits(settings: &Settings, machine: &Machine, note: &mut impl FnMut(&str, String)) {
    let commands = [("start", &machine.start), ("stop", &machine.stop), ("state", &machine.state)];
    match machine.provider {
        ProviderKind::Qemu => {
            let of_drill = [("drill_start", &machine.drill_start)];
            for (key, _) in commands.iter().chain(&of_drill).filter(|(_, command)| !command.is_empty()) {
                note(key, "is only for the provider command".into());
            }
            if settings.nbd.certificate.is_some() && !settings.nbd.plain_too {
                let why = "qemu speaks to the NBD server without TLS, which nbd.plain_too must allow";
                note("provider", why.into());
            }
        }
        ProviderKind::Command => {
            let arguments = [&machine.arguments, &machine.drill_arguments];
            if machine.program.is_some() || arguments.iter().any(|arguments| !arguments.is_empty()) {
                note("program", "and arguments are only for the provider qemu".into());
            }
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
                        "must have {name} or {id} in it: else a drill would stop the machine of production"
                            .into(),
                    );
                }
            }
            for (key, command) in commands {
                if !command.first().is_some_and(|program| program.as_str().starts_with('/')) {
                    note(key, "must begin with the absolute path of a program".into());
                }
            }
        }
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
                "[[machine]]\nname = \"m\"\nprovider = \"qemu\"\nvolumes = [\"web\"]\n".to_owned(),
                "nbd.listen is empty",
            ),
        ] {
            let problems = settings(&tables).expect_err(&tables);
            assert!(problems.iter().any(|found| found.contains(problem)), "{tables}\n{problems:#?}");
        }
    }
}
