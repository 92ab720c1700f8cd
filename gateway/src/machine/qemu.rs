//! Machines that QEMU runs on this machine, with disks over NBD.
//!
//! A machine is a process of its own that goes on while the gateway restarts: its requests wait meanwhile
//! ([`RECONNECT_SECONDS`]) and are sent again. Everything about it lies in its folder: the socket of its
//! monitor, its console, its process id. Whether it runs is whether its monitor answers: no process id is trusted.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;

use super::qmp::Monitor;
use super::{MachineDisk, MachineSpec, MachineState, Provider, ProviderError, Running, Stop};
use crate::control::JobHandle;
use crate::policy::hook;
use crate::settings::{self, Argument};

/// The program, where none is named.
const PROGRAM: &str = "qemu-system-x86_64";
/// How long a machine's requests wait for an NBD server that is gone, in seconds.
const RECONNECT_SECONDS: u32 = 3_600;
/// How long it waits for the server when it starts, in seconds.
const OPEN_SECONDS: u32 = 30;
/// The longest path of a local socket, in bytes (`sockaddr_un`, unix(7)).
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// How long a monitor may take to answer.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// See the head of this module.
#[derive(Debug)]
pub struct QemuProvider {
    program: String,
    arguments: Vec<Argument>,
    timeout: Duration,
}

impl QemuProvider {
    /// With what the settings say of a machine.
    pub fn new(machine: &settings::Machine) -> Self {
        let program = machine.program.as_ref().map_or_else(|| PROGRAM.to_owned(), ToString::to_string);
        Self { program, arguments: machine.arguments.clone(), timeout: machine.timeout.duration() }
    }

    fn command(&self, spec: &MachineSpec) -> Vec<String> {
        let console = comma_safe(&console_of(&spec.folder));
        let mut words: Vec<String> = vec![self.program.clone()];
        let mut say = |name: &str, value: String| words.extend([name.to_owned(), value]);
        say("-name", format!("guest={}", spec.name));
        if !self.arguments.iter().any(|argument| argument.as_str() == "-accel") {
            // The first that there is.
            say("-accel", "kvm".into());
            say("-accel", "tcg".into());
        }
        say("-m", format!("{}M", spec.memory_bytes >> 20));
        say("-smp", spec.cpus.to_string());
        say("-display", "none".into());
        say("-chardev", format!("file,id=console,path={console}"));
        say("-serial", "chardev:console".into());
        say("-qmp", format!("unix:{},server=on,wait=off", comma_safe(&socket_of(&spec.folder))));
        say("-pidfile", spec.folder.join("pid").display().to_string());
        for (at, disk) in spec.disks.iter().enumerate() {
            say("-blockdev", block_device(at, disk));
            say("-device", format!("virtio-blk-pci,drive=disk{at},bootindex={}", at + 1));
        }
        words.extend(["-no-user-config", "-nodefaults", "-daemonize"].map(str::to_owned));
        words.extend(self.arguments.iter().map(|argument| argument.as_str().to_owned()));
        words
    }
}

/// A disk as QEMU takes it: raw, over NBD; what the guest discards becomes a hole.
fn block_device(at: usize, disk: &MachineDisk) -> String {
    json!({
        "driver": "raw",
        "node-name": format!("disk{at}"),
        "read-only": disk.read_only,
        "discard": "unmap",
        "file": {
            "driver": "nbd",
            "server": { "type": "inet", "host": disk.host, "port": disk.port.to_string() },
            "export": disk.export,
            "read-only": disk.read_only,
            "discard": "unmap",
            "reconnect-delay": RECONNECT_SECONDS,
            "open-timeout": OPEN_SECONDS,
        },
    })
    .to_string()
}

fn socket_of(folder: &Path) -> PathBuf {
    folder.join("monitor")
}

fn console_of(folder: &Path) -> PathBuf {
    folder.join("console.log")
}

/// In options of QEMU a comma in a value stands twice.
fn comma_safe(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

/// The monitor of a machine, if it is there; bounded in time.
async fn monitor(folder: &Path) -> io::Result<Option<Monitor>> {
    tokio::time::timeout(ANSWER_TIME, Monitor::connect(&socket_of(folder))).await?
}

#[async_trait]
impl Provider for QemuProvider {
    async fn start(&self, spec: &MachineSpec) -> Result<Running, ProviderError> {
        let failed = |error: &dyn std::fmt::Display| ProviderError::because("start", &spec.name)(error);
        std::fs::create_dir_all(&spec.folder).map_err(|error| failed(&error))?;
        if socket_of(&spec.folder).as_os_str().len() > SOCKET_PATH_BYTES_MAX {
            let why = format!("the path of its folder {:?} is too long for a local socket", spec.folder);
            return Err(failed(&why));
        }
        if monitor(&spec.folder).await.map_err(|error| failed(&error))?.is_some() {
            return Err(ProviderError::Runs { name: spec.name.clone() });
        }
        let words = self.command(spec).into_iter().map(|word| word.parse());
        let command: Vec<Argument> = words.collect::<Result<_, String>>().map_err(|error| failed(&error))?;
        // It returns once the disks are open and the machine runs in the background.
        let started = hook::run(&command, &[], self.timeout, &JobHandle::new()).await;
        started.map_err(|source| ProviderError::Command {
            what: "start",
            name: spec.name.clone(),
            source,
        })?;
        Ok(Running {
            name: spec.name.clone(),
            id: spec.name.clone(),
            folder: spec.folder.clone(),
            console: Some(console_of(&spec.folder)),
        })
    }

    async fn state(&self, machine: &Running) -> Result<MachineState, ProviderError> {
        let failed = ProviderError::because("ask for the state of", &machine.name);
        let ask = async {
            let Some(mut monitor) = monitor(&machine.folder).await? else { return Ok(MachineState::Stopped) };
            let status = tokio::time::timeout(ANSWER_TIME, monitor.call("query-status")).await??;
            Ok(match status.get("status").and_then(|status| status.as_str()) {
                Some("running") => MachineState::Running,
                status => MachineState::Unwell(status.unwrap_or("unknown").to_owned()),
            })
        };
        ask.await.map_err(|error: io::Error| failed(error))
    }

    async fn stop(&self, machine: &Running, how: Stop) -> Result<(), ProviderError> {
        let failed = ProviderError::because("stop", &machine.name);
        let stop = async {
            let Some(mut monitor) = monitor(&machine.folder).await? else { return Ok(()) };
            if how == Stop::Gently {
                tokio::time::timeout(ANSWER_TIME, monitor.call("system_powerdown")).await??;
                if tokio::time::timeout(self.timeout, monitor.ended()).await.is_ok() {
                    return Ok(());
                }
                tracing::warn!(machine = machine.name, "it did not shut down in time; its power is cut");
            }
            // It may end before it has answered.
            let _ = tokio::time::timeout(ANSWER_TIME, monitor.call("quit")).await?;
            Ok(tokio::time::timeout(ANSWER_TIME, monitor.ended()).await?)
        };
        stop.await.map_err(|error: io::Error| failed(error))?;
        for left in [socket_of(&machine.folder), machine.folder.join("pid")] {
            // QEMU takes them away itself, if it has the time.
            let _ = std::fs::remove_file(left);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio::net::UnixListener;

    use super::*;

    fn provider(arguments: &[&str]) -> QemuProvider {
        let arguments = arguments.iter().map(|word| word.parse().expect("an argument")).collect();
        QemuProvider { program: PROGRAM.into(), arguments, timeout: Duration::from_millis(50) }
    }

    fn running(folder: &Path) -> Running {
        Running { name: "m".into(), id: "m".into(), folder: folder.to_owned(), console: None }
    }

    #[test]
    fn disks_wait_for_the_gateway_and_discards_become_holes() {
        let disk = MachineDisk { host: "::1".into(), port: 7, export: "a,b\"".into(), read_only: true };
        let spec = MachineSpec {
            name: "m".into(),
            memory_bytes: 1 << 30,
            cpus: 3,
            disks: vec![disk],
            copies: Vec::new(),
            scratch: false,
            folder: "/x,y".into(),
        };
        let words = provider(&["-nic", "user"]).command(&spec);
        let after = |name: &str| &words[words.iter().position(|word| word == name).expect(name) + 1];
        let device: serde_json::Value = serde_json::from_str(after("-blockdev")).expect("JSON");
        assert_eq!(device["file"]["export"], "a,b\"");
        assert_eq!((&device["file"]["server"]["host"], &device["read-only"]), (&json!("::1"), &json!(true)));
        assert!(device["file"]["reconnect-delay"].as_u64() > Some(0) && device["discard"] == "unmap");
        assert_eq!((after("-m").as_str(), after("-smp").as_str()), ("1024M", "3"));
        assert!(after("-qmp").starts_with("unix:/x,,y/monitor,"), "a comma in a path");
        assert_eq!(words[words.len() - 2..], ["-nic", "user"]);
        assert_eq!(words.iter().filter(|word| *word == "-accel").count(), 2);
        assert!(!provider(&["-accel", "tcg"]).command(&spec).contains(&"kvm".to_owned()));
    }

    #[tokio::test]
    async fn what_has_no_monitor_is_stopped_and_stays_so() {
        let folder = tempfile::tempdir().expect("a folder");
        let (provider, machine) = (provider(&[]), running(folder.path()));
        assert_eq!(provider.state(&machine).await.expect("known"), MachineState::Stopped);
        provider.stop(&machine, Stop::Gently).await.expect("nothing to do");
        drop(UnixListener::bind(socket_of(folder.path())).expect("a socket that nobody listens on"));
        assert_eq!(provider.state(&machine).await.expect("known"), MachineState::Stopped);
    }

    #[tokio::test]
    async fn a_monitor_that_talks_nonsense_is_an_error_and_no_stopped_machine() {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = UnixListener::bind(socket_of(folder.path())).expect("listens");
        let serve = async {
            let (mut stream, _) = listener.accept().await.expect("a client");
            stream.write_all(b"hello\n").await.expect("written");
        };
        let (provider, machine) = (provider(&[]), running(folder.path()));
        let (state, ()) = tokio::join!(provider.state(&machine), serve);
        assert!(state.expect_err("nonsense").to_string().contains("strangely"));
    }

    #[tokio::test]
    async fn a_machine_that_ignores_the_button_loses_its_power() {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = UnixListener::bind(socket_of(folder.path())).expect("listens");
        let serve = async {
            let (stream, _) = listener.accept().await.expect("a client");
            let mut stream = BufReader::new(stream);
            stream.get_mut().write_all(b"{\"QMP\": {}}\n").await.expect("written");
            let mut heard = Vec::new();
            while heard.last().is_none_or(|command| command != "quit") {
                let mut line = String::new();
                stream.read_line(&mut line).await.expect("a command");
                let command: serde_json::Value = serde_json::from_str(&line).expect("JSON");
                heard.push(command["execute"].as_str().expect("a name").to_owned());
                stream.get_mut().write_all(b"{\"event\": \"X\"}\n{\"return\": {}}\n").await.expect("written");
            }
            heard
        };
        let (provider, machine) = (provider(&[]), running(folder.path()));
        let (stopped, heard) = tokio::join!(provider.stop(&machine, Stop::Gently), serve);
        stopped.expect("stopped");
        assert_eq!(heard, ["qmp_capabilities", "system_powerdown", "quit"]);
    }
}
