//! Commands that may fail: how they ended, what they said, and what they left behind.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::gateway::program;

/// The longest that a command may take to say that something does not answer.
pub const VERDICT_MAX: Duration = Duration::from_secs(150);

/// How often a process is looked at.
const POLL: Duration = Duration::from_millis(10);

/// A command that ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// What was run.
    pub arguments: Vec<String>,
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to standard output.
    pub out: String,
    /// What it wrote to standard error, its log included.
    pub err: String,
    /// How long it took.
    pub took: Duration,
}

/// Runs the program with settings; panics if it has not ended after [`VERDICT_MAX`].
pub fn attempt(settings: &Path, arguments: &[&str]) -> Ended {
    let folder = tempfile::tempdir().expect("a folder");
    let (out, err) = (folder.path().join("out"), folder.path().join("err"));
    let start = Instant::now();
    let mut process = Command::new(program())
        .arg("--settings")
        .arg(settings)
        .arg("--json")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(File::create(&out).expect("a writable folder"))
        .stderr(File::create(&err).expect("a writable folder"))
        .spawn()
        .expect("the program runs");
    let text = |path: &Path| fs::read_to_string(path).expect("output is text");
    let status = loop {
        if let Some(status) = process.try_wait().expect("a child can be asked") {
            break status;
        }
        if start.elapsed() > VERDICT_MAX {
            process.kill().expect("a child can be killed");
            process.wait().expect("a child ends");
            panic!("tidegate {arguments:?} has not ended after {VERDICT_MAX:?}:\n{}", text(&err));
        }
        std::thread::sleep(POLL);
    };
    let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    Ended { arguments, code: status.code(), out: text(&out), err: text(&err), took: start.elapsed() }
}

impl Ended {
    /// Checks that it was refused with this exit code, and that what it said to people contains each of
    /// `says` and none of `secrets`.
    pub fn assert_refused(&self, code: i32, says: &[&str], secrets: &[String]) {
        println!("{:?}: {:?} after {:?}: {}", self.arguments, self.code, self.took, self.verdict());
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.out, "", "data goes to standard output only when all went well");
        for part in says {
            assert!(self.verdict().contains(part), "it does not say {part:?}: {self:?}");
        }
        for secret in secrets {
            assert!(!self.err.contains(secret.as_str()), "it tells a secret: {self:?}");
        }
    }

    /// Message and next step.
    pub fn verdict(&self) -> String {
        let last = self.err.lines().last().unwrap_or_default();
        let Ok(failure) = serde_json::from_str::<Value>(last) else { return self.err.clone() };
        let text = |field: &str| failure[field].as_str().unwrap_or_default().to_owned();
        format!("{} // {}", text("message"), text("todo"))
    }
}

/// All files below a folder, with a digest of each; directories have none.
pub fn picture(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut picture = BTreeMap::new();
    let mut rest = vec![folder.to_path_buf()];
    while let Some(folder) = rest.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.expect("an entry").path();
            let found = path.symlink_metadata().expect("it is there");
            let content = match () {
                () if found.is_dir() => String::new(),
                () if found.is_file() => {
                    blake3::hash(&fs::read(&path).expect("a readable file")).to_hex().to_string()
                }
                () => "neither file nor folder".to_owned(),
            };
            if found.is_dir() {
                rest.push(path.clone());
            }
            picture.insert(path, content);
        }
    }
    picture
}
