//! Machines that commands of the operator run.
//!
//! A command is a program and its arguments, in which names in braces stand for what the machine is (see
//! `[[machine]]` in `docs/settings.md`). No shell reads them, so a value is always one argument whatever is in it.

use std::time::Duration;

use async_trait::async_trait;

use super::{MachineSpec, MachineState, Provider, ProviderError, Running, Stop};
use crate::control::JobHandle;
use crate::policy::hook::{self, HookError};
use crate::settings::{self, Argument};

/// The names of the variables of disks; a machine has no more of them.
const DISK_VARIABLES: [&str; 16] = [
    "TIDEGATE_DISK0",
    "TIDEGATE_DISK1",
    "TIDEGATE_DISK2",
    "TIDEGATE_DISK3",
    "TIDEGATE_DISK4",
    "TIDEGATE_DISK5",
    "TIDEGATE_DISK6",
    "TIDEGATE_DISK7",
    "TIDEGATE_DISK8",
    "TIDEGATE_DISK9",
    "TIDEGATE_DISK10",
    "TIDEGATE_DISK11",
    "TIDEGATE_DISK12",
    "TIDEGATE_DISK13",
    "TIDEGATE_DISK14",
    "TIDEGATE_DISK15",
];
/// What the command for the state ends with when the machine does not run, as `systemctl status` does.
const STOPPED: i32 = 3;
/// The longest id that is taken from what the start prints, in bytes.
const ID_BYTES_MAX: usize = 256;

/// See the head of this module.
#[derive(Debug)]
pub struct CommandProvider {
    start: Vec<Argument>,
    stop: Vec<Argument>,
    state: Vec<Argument>,
    timeout: Duration,
}

impl CommandProvider {
    /// With the commands of a machine.
    pub fn new(machine: &settings::Machine) -> Self {
        Self {
            start: machine.start.clone(),
            stop: machine.stop.clone(),
            state: machine.state.clone(),
            timeout: machine.timeout.duration(),
        }
    }

    async fn run(&self, command: &[Argument], values: &Values) -> Result<String, HookError> {
        let filled: Vec<Argument> = command.iter().map(|argument| values.fill(argument)).collect();
        hook::run(&filled, &values.variables(), self.timeout, &JobHandle::new()).await
    }

    async fn ask(&self, values: &Values, name: &str) -> Result<MachineState, ProviderError> {
        match self.run(&self.state, values).await {
            Ok(_) => Ok(MachineState::Running),
            Err(HookError::Failed { status, .. }) if status.code() == Some(STOPPED) => {
                Ok(MachineState::Stopped)
            }
            Err(source) => {
                Err(ProviderError::Command { what: "ask for the state of", name: name.to_owned(), source })
            }
        }
    }
}

/// What names in braces stand for.
struct Values {
    /// Name in braces, name of the variable, value.
    of: Vec<(String, &'static str, String)>,
}

impl Values {
    fn of_spec(spec: &MachineSpec) -> Self {
        let mut of = vec![
            ("{name}".to_owned(), "TIDEGATE_NAME", spec.name.clone()),
            ("{memory_mib}".to_owned(), "TIDEGATE_MEMORY_MIB", (spec.memory_bytes >> 20).to_string()),
            ("{cpus}".to_owned(), "TIDEGATE_CPUS", spec.cpus.to_string()),
        ];
        let addresses: Vec<String> = spec.disks.iter().map(super::MachineDisk::address).collect();
        for (at, (address, variable)) in addresses.iter().zip(DISK_VARIABLES).enumerate() {
            of.push((format!("{{disk{at}}}"), variable, address.clone()));
        }
        of.push(("{disks}".to_owned(), "TIDEGATE_DISKS", addresses.join(",")));
        of.push(("{id}".to_owned(), "TIDEGATE_ID", spec.name.clone()));
        Self { of }
    }

    fn of_running(machine: &Running) -> Self {
        Self {
            of: vec![
                ("{name}".to_owned(), "TIDEGATE_NAME", machine.name.clone()),
                ("{id}".to_owned(), "TIDEGATE_ID", machine.id.clone()),
            ],
        }
    }

    /// Puts the values in; what stands in a value is not looked at again.
    fn fill(&self, argument: &Argument) -> Argument {
        let (mut filled, mut rest) = (String::new(), argument.as_str());
        while let Some(at) = rest.find('{') {
            filled.push_str(&rest[..at]);
            rest = &rest[at..];
            if let Some((name, _, value)) = self.of.iter().find(|(name, ..)| rest.starts_with(name.as_str()))
            {
                filled.push_str(value);
                rest = &rest[name.len()..];
            } else {
                filled.push('{');
                rest = &rest[1..];
            }
        }
        filled.push_str(rest);
        // What was put in is short and has no zero byte; an argument that became too long stays as it was written.
        filled.parse().unwrap_or_else(|_| argument.clone())
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        self.of.iter().map(|(_, variable, value)| (*variable, value.clone())).collect()
    }
}

#[async_trait]
impl Provider for CommandProvider {
    async fn start(&self, spec: &MachineSpec) -> Result<Running, ProviderError> {
        let values = Values::of_spec(spec);
        if self.ask(&values, &spec.name).await? == MachineState::Running {
            return Err(ProviderError::Runs { name: spec.name.clone() });
        }
        let printed = self.run(&self.start, &values).await.map_err(|source| ProviderError::Command {
            what: "start",
            name: spec.name.clone(),
            source,
        })?;
        let last = printed.lines().map(str::trim).rfind(|line| !line.is_empty());
        let id = last.filter(|line| line.len() <= ID_BYTES_MAX).unwrap_or(&spec.name).to_owned();
        Ok(Running { name: spec.name.clone(), id, folder: spec.folder.clone(), console: None })
    }

    async fn state(&self, machine: &Running) -> Result<MachineState, ProviderError> {
        self.ask(&Values::of_running(machine), &machine.name).await
    }

    async fn stop(&self, machine: &Running, _how: Stop) -> Result<(), ProviderError> {
        let stopped = self.run(&self.stop, &Values::of_running(machine)).await;
        let failed = |source| ProviderError::Command { what: "stop", name: machine.name.clone(), source };
        stopped.map(drop).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::MachineDisk;

    fn provider(start: &str, state: &str, stop: &str) -> CommandProvider {
        let shell =
            |script: &str| ["/bin/sh", "-c", script].map(|word| word.parse().expect("an argument")).to_vec();
        CommandProvider {
            start: shell(start),
            stop: shell(stop),
            state: shell(state),
            timeout: Duration::from_mins(1),
        }
    }

    fn spec(folder: &std::path::Path) -> MachineSpec {
        let disk = |export: &str| MachineDisk {
            host: "gw".into(),
            port: 7,
            export: export.into(),
            read_only: false,
        };
        let (memory_bytes, disks) = (64 << 20, vec![disk("a"), disk("b")]);
        let (name, copies) = ("m".into(), Vec::new());
        MachineSpec { name, memory_bytes, cpus: 2, disks, copies, scratch: false, folder: folder.to_owned() }
    }

    #[tokio::test]
    async fn a_machine_is_started_asked_for_and_stopped_by_commands() {
        let folder = tempfile::tempdir().expect("a folder");
        let mark = folder.path().join("mark").display().to_string();
        let provider = provider(
            &format!(
                "echo '{{name}} {{memory_mib}} {{cpus}} {{disk1}} {{x}}' $TIDEGATE_DISKS > {mark}; echo; echo i-7"
            ),
            &format!("test -e {mark} || exit 3"),
            &format!("test \"$TIDEGATE_ID\" = i-7 && rm -f {mark}"),
        );
        let spec = spec(folder.path());
        let running = provider.start(&spec).await.expect("started");
        assert_eq!(running.id, "i-7");
        let said = std::fs::read_to_string(&mark).expect("written");
        assert_eq!(said.trim(), "m 64 2 nbd://gw:7/b {x} nbd://gw:7/a,nbd://gw:7/b");
        assert_eq!(provider.state(&running).await.expect("known"), MachineState::Running);
        assert!(matches!(provider.start(&spec).await, Err(ProviderError::Runs { .. })));
        provider.stop(&running, Stop::Gently).await.expect("stopped");
        assert_eq!(provider.state(&running).await.expect("known"), MachineState::Stopped);
    }

    #[tokio::test]
    async fn what_is_not_known_is_an_error_and_starts_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let mark = folder.path().join("mark");
        let provider = provider(&format!("touch {}", mark.display()), "echo no daemon >&2; exit 1", "true");
        let error = provider.start(&spec(folder.path())).await.expect_err("not known").to_string();
        assert!(error.contains("no daemon") && error.contains("ask for the state of"), "{error}");
        assert!(!mark.exists());
    }
}
