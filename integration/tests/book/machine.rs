//! A machine of a chapter: a folder in the place of `/`, and what its operator types there.
//!
//! Commands run as they stand on the page, in a shell and on a terminal, by an operator who answers `y`. What differs is in one
//! table ([`stand_ins`]): paths, ports and addresses. Three programs are played: `systemctl` starts and reloads the
//! gateway as its unit does, `mount` asks the gateway for the export with the options of the command, and `cp` and `ls` go over NFS
//! where they are below a mount. That a real kernel mounts it too is seen in `integration/tests/linux_client`.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;
use tidegate_integration::gateway::{Gateway, PATIENCE, free_address, program};
use tidegate_integration::skip::skip;
use tokio::runtime::Runtime;

use crate::mounted::Mounted;
use crate::page::{top, without_comment};
use crate::substitute::substitute;

/// What the operator types when the program asks.
const ANSWERS: &str = "y\ny\n";
/// Programs that are run as they are.
const PROGRAMS: [&str; 9] =
    ["tidegate", "install", "printf", "curl", "restic", "aws", "qemu-img", "cp", "ls"];
/// The files with credentials that the book names.
const CREDENTIALS: [&str; 4] = ["s3", "s3-other", "s3-read", "credentials"];
/// A user that there is not: on a machine of a test nothing is handed over, and no unit changed.
const NOBODY: &str = "nobody-of-the-book";

/// How a command ended.
#[derive(Clone, Debug)]
pub(crate) struct Ran {
    /// Its exit code.
    pub(crate) code: i32,
    /// What it showed.
    pub(crate) said: String,
}

/// See the head of this file.
pub(crate) struct Machine {
    gateway: Gateway,
    folder: PathBuf,
    table: Vec<(String, String)>,
    endpoint: String,
    environment: BTreeMap<String, String>,
    setup_answers: String,
    pub(crate) mounted: Mounted,
}

impl Machine {
    pub(crate) fn new(folder: PathBuf, home: String, away: &str, runtime: Arc<Runtime>) -> Self {
        for name in ["bin", "mnt", "srv", "tmp"] {
            fs::create_dir(folder.join(name)).expect("a folder");
        }
        for name in CREDENTIALS {
            write_secret(&folder.join(name), b"access\nsecret\n");
        }
        symlink(program(), folder.join("bin/tidegate")).expect("a link");
        let gateway = Gateway::found(&folder, free_address());
        let table = stand_ins(&folder, &gateway, &home, away);
        let mounted = Mounted::new(gateway.address(), runtime);
        Self {
            gateway,
            folder,
            table,
            endpoint: home,
            environment: BTreeMap::new(),
            setup_answers: String::new(),
            mounted,
        }
    }

    /// A text of a page as it is meant on this machine.
    pub(crate) fn real(&self, text: &str) -> String {
        substitute(text, &self.table)
    }

    /// A file of this machine, by its path on the page.
    pub(crate) fn path(&self, page: &str) -> PathBuf {
        self.real(page).into()
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) const fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// Settings as after the first pages of the book, and `more`.
    pub(crate) fn settle(&self, more: &str) {
        let address = self.gateway.address();
        let text = format!(
            "[gateway]\ndata = \"/var/lib/tidegate\"\nsocket = \"/run/tidegate/admin.sock\"\n\n\
             [repository]\nkey = {{ file = \"/etc/tidegate/repository.key\" }}\n\n\
             [[target]]\nname = \"main\"\naddress = \"s3://my-bucket/tidegate\"\nregion = \"eu-central-1\"\n\
             credentials = {{ file = \"/etc/tidegate/s3\" }}\n\n\
             [cache]\ndirty = \"128MiB\"\n\n[nfs]\nlisten = [\"{address}\"]\n\n\
             [[share]]\nname = \"files\"\nrpo = \"1s\"\nsquash = \"none\"\n\n{more}"
        );
        fs::write(self.gateway.settings(), self.real(&text)).expect("the folder can be written");
    }

    /// Adds tables of a page to its settings.
    pub(crate) fn add_settings(&self, tables: &str) {
        let before = fs::read_to_string(self.gateway.settings()).unwrap_or_default();
        fs::write(self.gateway.settings(), format!("{before}\n{}", self.real(tables))).expect("writable");
    }

    /// What `tidegate setup` is answered: where the repository lies, and else what it proposes.
    pub(crate) fn type_in_setup(&mut self, address: &str) {
        let bucket = "{endpoint}\neu-central-1\n/etc/tidegate/s3\n".replace("{endpoint}", &self.endpoint);
        let more = if address.starts_with("s3:") { bucket } else { String::new() };
        // The share, the networks, and who loses his identity.
        self.setup_answers = self.real(&format!("{address}\n{more}\n\n\n"));
    }

    /// Has settings of a page serve where this machine can be reached.
    pub(crate) fn listens_here(&self) {
        let socket = format!("[gateway]\nsocket = \"{}\"", self.real("/run/tidegate/admin.sock"));
        self.gateway.change_settings("[gateway]", &socket);
        self.add_settings(&format!("[nfs]\nlisten = [\"{}\"]\n", self.gateway.address()));
    }

    /// Waits until what only this machine has of `files` is a branch; its name.
    pub(crate) fn wait_for_branch(&self) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let branches = self.tidegate("branch list files");
            if let Some(name) = branches[0]["name"].as_str() {
                return name.to_owned();
            }
            assert!(Instant::now() < end, "no branch came to be:\n{}", self.gateway.log());
        }
    }

    /// What a variable holds from now on.
    pub(crate) fn set(&mut self, variable: &str, value: &str) {
        self.environment.insert(variable.to_owned(), value.to_owned());
    }

    /// Starts the gateway, as its unit does, and waits until it serves.
    pub(crate) fn serve(&mut self) {
        self.gateway.start();
        // Commands are next.
        let end = Instant::now() + PATIENCE;
        while self.gateway.attempt(&["status"]).code != Some(0) {
            assert!(Instant::now() < end, "it does not answer:\n{}", self.gateway.log());
        }
    }

    pub(crate) fn stop(&mut self) {
        assert!(self.gateway.stop().success(), "it stops well:\n{}", self.gateway.log());
    }

    pub(crate) fn kill(&mut self) {
        self.gateway.kill();
    }

    /// Runs a command that the page does not have, which must succeed; the JSON that it shows.
    pub(crate) fn tidegate(&self, arguments: &str) -> Value {
        let words: Vec<&str> = arguments.split(' ').collect();
        let said = self.gateway.run(&words);
        if said.is_empty() { Value::Null } else { serde_json::from_str(&said).expect("JSON") }
    }

    /// The command is done; how it ended. None if a program for it is not here, which is said.
    pub(crate) fn do_command(&mut self, command: &str) -> Option<Ran> {
        let command = command.strip_prefix("sudo ").unwrap_or(command);
        let words: Vec<String> = without_comment(&self.real(command)).split(' ').map(str::to_owned).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).filter(|word| !word.is_empty()).collect();
        let played = Ran { code: 0, said: String::new() };
        match words[..] {
            ["tidegate", "serve"] | ["systemctl", "enable", "--now", "tidegate"] => self.serve(),
            ["systemctl", "reload", "tidegate"] => self.gateway.reload(),
            ["mount", "-t", "nfs", "-o", options, export, at] => self.mounted.mount(options, export, at),
            ["ls", of] if self.mounted.has(of) => {
                let said = self.mounted.list(of).join("\n");
                return Some(Ran { said, ..played });
            }
            ["cp", from, to] if self.mounted.has(from) || self.mounted.has(to) => {
                self.mounted.copy(&self.folder, from, to);
            }
            ["tidegate", "setup"] => return self.in_a_shell("tidegate", command, &self.setup_answers),
            [program, ..] if PROGRAMS.contains(&program) => {
                return self.in_a_shell(program, command, ANSWERS);
            }
            _ => panic!(
                "nobody runs {command:?}: it is to be played here, or listed in `elsewhere.rs` with the reason"
            ),
        }
        Some(played)
    }

    /// Runs a command in a shell on a terminal, and types `answers`.
    pub(crate) fn in_a_shell(&self, program: &str, command: &str, answers: &str) -> Option<Ran> {
        let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
        if program != "tidegate" && !found.is_ok_and(|found| found.status.success()) {
            skip("book", &format!("{program} is not installed: {command}"));
            return None;
        }
        Some(self.on_a_terminal(&self.line(command), answers))
    }

    /// A command of a page as it is typed here.
    pub(crate) fn line(&self, command: &str) -> String {
        self.real(&self.with_place(command))
    }

    /// Where a shell looks for programs: the program under test first.
    pub(crate) fn search_path(&self) -> String {
        let path = std::env::var("PATH").unwrap_or_default();
        format!("{}:{path}", self.folder.join("bin").display())
    }

    /// Says where this machine has what a gateway has, for commands that make settings.
    fn with_place(&self, command: &str) -> String {
        let mut place = format!("--socket /run/tidegate/admin.sock --listen {}", self.gateway.address());
        if !command.contains("--data") {
            place += " --data /var/lib/tidegate";
        }
        for (makes_settings, more) in [
            ("tidegate setup", format!(" --user {NOBODY}")),
            ("tidegate attach", String::new()),
            (" runbook drill", String::new()),
            (" runbook failover", String::new()),
        ] {
            if command.contains(makes_settings) && (command.contains("--address") || !more.is_empty()) {
                return command.replace(makes_settings, &format!("{makes_settings} {place}{more}"));
            }
        }
        command.to_owned()
    }

    fn on_a_terminal(&self, line: &str, answers: &str) -> Ran {
        let transcript = self.folder.join("transcript");
        // Of util-linux; it makes a terminal, and ends as the command does.
        let mut process = Command::new("script")
            .args(["--quiet", "--return", "--command", line, "/dev/null"])
            .current_dir(&self.folder)
            .env("PATH", self.search_path())
            .env("TIDEGATE_SETTINGS", self.gateway.settings())
            .env("SHELL", "/bin/sh")
            .env("NO_COLOR", "1")
            .env("CURL_CA_BUNDLE", top().join("protocols/tests/s3/certificates/authority.pem"))
            .envs(&self.environment)
            .stdin(Stdio::piped())
            .stdout(File::create(&transcript).expect("a writable folder"))
            .stderr(Stdio::inherit())
            .spawn()
            .expect("script runs (Debian: bsdutils)");
        let mut keyboard = process.stdin.take().expect("a pipe");
        keyboard.write_all(answers.as_bytes()).expect("the terminal takes some lines");
        let end = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = process.try_wait().expect("a child can be asked") {
                break status;
            }
            if Instant::now() > end {
                process.kill().expect("a child can be killed");
                process.wait().expect("a child ends");
                panic!("{line} does not end:\n{}", read(&transcript));
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        };
        drop(keyboard);
        Ran { code: status.code().unwrap_or(-1), said: read(&transcript) }
    }
}

/// What stands on a page, and what is typed here.
fn stand_ins(folder: &Path, gateway: &Gateway, home: &str, away: &str) -> Vec<(String, String)> {
    let place = folder.display();
    let port = gateway.address().port();
    let [api, s3, nbd, page] = [(); 4].map(|()| free_address());
    let table = [
        ("/etc/tidegate", format!("{place}")),
        ("/var/lib/tidegate", format!("{place}/data")),
        ("/run/tidegate", format!("{place}")),
        ("/mnt", format!("{place}/mnt")),
        ("/srv/", format!("{place}/srv/")),
        ("/tmp/", format!("{place}/tmp/")),
        ("port=2049,mountport=2049", format!("port={port},mountport={port}")),
        ("0.0.0.0:8443", api.to_string()),
        ("gateway:8443", format!("localhost:{}", api.port())),
        ("0.0.0.0:9000", s3.to_string()),
        ("gateway:9000", s3.to_string()),
        ("127.0.0.1:10809", nbd.to_string()),
        ("nbd://127.0.0.1/", format!("nbd://{nbd}/")),
        ("tcp::8080-", format!("tcp:{page}-")),
        // Who may mount: clients of the test are on this machine.
        ("10.0.0.0/8", "127.0.0.0/8".to_owned()),
        // The stores of the book are S3 services in this process.
        ("--region eu-central-1", format!("--region eu-central-1 --endpoint {home}")),
        ("--region eu-west-1", format!("--region eu-west-1 --endpoint {away}")),
        ("region = \"eu-central-1\"", format!("region = \"eu-central-1\"\nendpoint = \"{home}\"")),
        // An answer of an error is one.
        ("curl ", "curl --silent --show-error --fail-with-body ".to_owned()),
        ("ACCESS_KEY_ID SECRET_ACCESS_KEY", "access secret".to_owned()),
    ];
    table.map(|(page, here)| (page.to_owned(), here)).to_vec()
}

fn read(transcript: &Path) -> String {
    String::from_utf8_lossy(&fs::read(transcript).unwrap_or_default()).replace('\r', "")
}

/// A file that only its owner reads.
pub(crate) fn write_secret(path: &Path, content: &[u8]) {
    fs::write(path, content).expect("a writable folder");
    fs::set_permissions(path, Permissions::from_mode(0o600)).expect("it is ours");
}
