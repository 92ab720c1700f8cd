//! The others: restic, Borg (both of Debian) and rustic (`cargo install rustic-rs`), each with its defaults
//! except for what is said. All encrypt; all compress with zstd.

use std::path::PathBuf;
use std::process::Command;

use tidegate_benches::process::run;
use tidegate_benches::{Outcome, find_program};

use crate::store::{ACCESS_KEY, BUCKET, REGION, SECRET_KEY};
use crate::tool::{Place, Tool};

const SECRET: &str = "only for this bench";
/// What rustic finds a bucket by.
const PROFILE: &str = "bench";

fn missing(program: &str, how: &str) -> Option<String> {
    find_program(program).is_none().then(|| format!("not installed ({how})"))
}

/// What is restored lies below its whole path.
fn below_its_path(place: &Place) -> PathBuf {
    let path = place.source.strip_prefix("/").unwrap_or(&place.source);
    place.restored.join(path)
}

/// Runs one after the other, and answers the greatest peak.
fn run_each(commands: impl IntoIterator<Item = Command>) -> Outcome<u64> {
    commands.into_iter().try_fold(0, |peak, mut command| Ok(run(&mut command)?.max(peak)))
}

pub(crate) struct Restic;

impl Restic {
    fn command(place: &Place) -> Command {
        let mut command = Command::new("restic");
        command.env("RESTIC_PASSWORD", SECRET).env("RESTIC_CACHE_DIR", place.own.join("cache"));
        place.sign_in(&mut command);
        command.arg("--quiet").arg("--repo");
        match &place.bucket {
            Some(bucket) => command.arg(format!("s3:{}/{BUCKET}", bucket.endpoint())),
            None => command.arg(&place.repository),
        };
        command
    }
}

impl Tool for Restic {
    fn name(&self) -> &'static str {
        "restic"
    }

    fn missing(&self) -> Option<String> {
        missing("restic", "Debian: restic")
    }

    fn prepare(&self, place: &Place) -> Outcome<()> {
        run(Self::command(place).arg("init")).map(|_| ())
    }

    fn save(&self, place: &Place) -> Outcome<u64> {
        run(Self::command(place).arg("backup").arg(&place.source))
    }

    fn restore(&self, place: &Place) -> Outcome<u64> {
        let mut command = Self::command(place);
        command.arg("--no-cache").args(["restore", "latest", "--target"]).arg(&place.restored);
        run(&mut command)
    }

    fn forget(&self, place: &Place) -> Outcome<u64> {
        run(Self::command(place).args(["forget", "--keep-last", "1", "--prune"]))
    }

    fn restored_content(&self, place: &Place) -> PathBuf {
        below_its_path(place)
    }
}

pub(crate) struct Borg;

impl Borg {
    fn command(place: &Place) -> Command {
        let mut command = Command::new("borg");
        command.env("BORG_PASSPHRASE", SECRET).env("BORG_BASE_DIR", place.own.join("base"));
        command.env("BORG_REPO", &place.repository).current_dir(&place.restored);
        command
    }
}

impl Tool for Borg {
    fn name(&self) -> &'static str {
        "borg"
    }

    fn missing(&self) -> Option<String> {
        missing("borg", "Debian: borgbackup")
    }

    fn knows_buckets(&self) -> bool {
        false
    }

    fn prepare(&self, place: &Place) -> Outcome<()> {
        run(Self::command(place).args(["init", "--encryption", "repokey-blake2"])).map(|_| ())
    }

    fn save(&self, place: &Place) -> Outcome<u64> {
        let mut command = Self::command(place);
        command.args(["create", "--compression", "zstd,3", "::saved-{utcnow:%H%M%S.%f}"]).arg(&place.source);
        run(&mut command)
    }

    fn restore(&self, place: &Place) -> Outcome<u64> {
        let listed = Self::command(place).args(["list", "--last", "1", "--format", "{archive}"]).output()?;
        let archive = String::from_utf8(listed.stdout)?;
        run(Self::command(place).args(["extract", &format!("::{}", archive.trim())]))
    }

    fn forget(&self, place: &Place) -> Outcome<u64> {
        let (mut prune, mut compact) = (Self::command(place), Self::command(place));
        prune.args(["prune", "--keep-last", "1"]);
        compact.arg("compact");
        run_each([prune, compact])
    }

    fn restored_content(&self, place: &Place) -> PathBuf {
        below_its_path(place)
    }
}

pub(crate) struct Rustic;

impl Rustic {
    fn command(place: &Place) -> Command {
        let mut command = Command::new("rustic");
        command.env("RUSTIC_PASSWORD", SECRET).env("RUSTIC_CACHE_DIR", place.own.join("cache"));
        command.arg("--no-progress").arg("--log-level").arg("error");
        match place.bucket {
            // It looks for profiles in its folder.
            Some(_) => command.current_dir(&place.own).args(["--use-profile", PROFILE]),
            None => command.arg("--repository").arg(&place.repository),
        };
        command
    }

    /// Where a repository in a bucket is, for a profile.
    fn profile(endpoint: &str) -> String {
        format!(
            "[repository]\nrepository = \"opendal:s3\"\n\n[repository.options]\nbucket = \"{BUCKET}\"\nroot = \"/\"\n\
             endpoint = \"{endpoint}\"\nregion = \"{REGION}\"\naccess_key_id = \"{ACCESS_KEY}\"\n\
             secret_access_key = \"{SECRET_KEY}\"\n"
        )
    }
}

impl Tool for Rustic {
    fn name(&self) -> &'static str {
        "rustic"
    }

    fn missing(&self) -> Option<String> {
        missing("rustic", "cargo install --locked rustic-rs")
    }

    fn prepare(&self, place: &Place) -> Outcome<()> {
        if let Some(bucket) = &place.bucket {
            std::fs::write(place.own.join(format!("{PROFILE}.toml")), Self::profile(bucket.endpoint()))?;
        }
        run(Self::command(place).arg("init")).map(|_| ())
    }

    fn save(&self, place: &Place) -> Outcome<u64> {
        run(Self::command(place).arg("backup").arg(&place.source))
    }

    fn restore(&self, place: &Place) -> Outcome<u64> {
        let mut command = Self::command(place);
        command
            .env_remove("RUSTIC_CACHE_DIR")
            .arg("--no-cache")
            .args(["restore", "latest"])
            .arg(&place.restored);
        run(&mut command)
    }

    fn forget(&self, place: &Place) -> Outcome<u64> {
        let mut command = Self::command(place);
        command.args(["forget", "--keep-last", "1", "--prune", "--instant-delete", "--keep-delete", "0s"]);
        command.args(["--keep-pack", "0s"]);
        run(&mut command)
    }

    fn restored_content(&self, place: &Place) -> PathBuf {
        below_its_path(place)
    }
}
