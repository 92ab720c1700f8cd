//! PostgreSQL archived by barman-cloud: a base backup and the log in a bucket, and the database restored from them to what
//! was committed after the backup too.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::{ACCESS_KEY, FLAT, Front, SECRET, has, run};

/// How long the log may take to its bucket, and the server to its start.
const PATIENCE: Duration = Duration::from_mins(1);
/// Rows before the backup, and after it.
const ROWS: [usize; 2] = [50_000, 7_000];

/// Where the newest of the installed servers is.
fn programs() -> Option<PathBuf> {
    let mut found: Vec<_> =
        fs::read_dir("/usr/lib/postgresql").ok()?.flatten().map(|entry| entry.path().join("bin")).collect();
    found.sort();
    found.pop()
}

/// A database in a folder, run by the user `postgres` where this is root: it refuses to be run by root.
struct Database<'a> {
    front: &'a Front,
    programs: PathBuf,
    data: PathBuf,
}

impl Database<'_> {
    fn command(&self, program: &Path) -> Command {
        let root = rustix::process::geteuid().is_root();
        let mut command = self.front.command(if root { "runuser" } else { "env" });
        if root {
            command.args(["-u", "postgres", "--"]);
        }
        command.arg(program);
        command
    }

    fn server(&self, arguments: &[&str]) {
        let log = self.data.with_extension("log");
        let mut command = self.command(&self.programs.join("pg_ctl"));
        command.arg("-D").arg(&self.data).arg("-l").arg(&log).args(["-w", "-t", "60"]).args(arguments);
        // Its output stays open as long as the server runs.
        let done = command.stdout(std::process::Stdio::null()).status().expect("pg_ctl runs");
        let log = fs::read_to_string(&log).unwrap_or_default();
        assert!(done.success(), "pg_ctl {arguments:?} failed:\n{log}");
    }

    fn query(&self, query: &str) -> String {
        let mut command = self.command(&self.programs.join("psql"));
        command.arg("-h").arg(self.sockets()).args(["-U", "postgres", "-d", "postgres", "-Atc", query]);
        run(&mut command).trim().to_owned()
    }

    fn sockets(&self) -> &Path {
        self.front.folder.path()
    }

    fn configure(&self, lines: &str) {
        let file = self.data.join("postgresql.conf");
        let before = fs::read_to_string(&file).expect("it was made");
        let sockets = self.sockets().display();
        let own =
            format!("{before}\nunix_socket_directories = '{sockets}'\nlisten_addresses = ''\n{lines}\n");
        fs::write(&file, own).expect("a writable folder");
    }

    fn cloud(&self, program: &str) -> Command {
        let mut command = self.command(Path::new(program));
        command.args(["--endpoint-url", &self.front.endpoint()]);
        command
    }
}

/// A command of barman for the settings of the server, whose environment is not ours.
fn in_settings(front: &Front, program: &str, end: &str) -> String {
    format!(
        "env AWS_ACCESS_KEY_ID={ACCESS_KEY} AWS_SECRET_ACCESS_KEY={SECRET} AWS_DEFAULT_REGION=us-east-1 {program} \
         --endpoint-url {} {end}",
        front.endpoint()
    )
}

/// Waits until the server has archived its log so far.
fn await_archive(database: &Database<'_>) {
    let name = database.query("select pg_walfile_name(pg_switch_wal())");
    let started = Instant::now();
    loop {
        let done = database.query("select coalesce(last_archived_wal, '') from pg_stat_archiver");
        if done >= name {
            return;
        }
        let failed = database.query("select failed_count from pg_stat_archiver");
        assert!(started.elapsed() < PATIENCE, "{name} is not archived; archived {done}, {failed} failures");
        std::thread::yield_now();
    }
}

#[test]
fn a_database_is_archived_and_restored_to_its_last_commit() {
    let Some(programs) = programs() else {
        println!("postgres: skipped: PostgreSQL is not installed");
        return;
    };
    if !has("postgres", "barman-cloud-backup", "--version") {
        return;
    }
    let front = Front::start();
    open_to_all(front.folder.path());
    let to = format!("s3://{FLAT}/pg");
    let database = Database { front: &front, programs: programs.clone(), data: front.path("database") };
    run(database
        .command(&programs.join("initdb"))
        .args(["-U", "postgres", "-A", "trust", "-D"])
        .arg(&database.data));
    let archive = in_settings(&front, "barman-cloud-wal-archive", &format!("{to} main %p"));
    database.configure(&format!("archive_mode = on\narchive_command = '{archive}'"));
    database.server(&["start"]);
    database
        .query(&format!("create table t as select g, md5(g::text) from generate_series(1, {}) g", ROWS[0]));
    let sockets = front.folder.path().display().to_string();
    run(database.cloud("barman-cloud-backup").args(["-h", &sockets, "-U", "postgres", &to, "main"]));
    database.query(&format!("insert into t select g, md5(g::text) from generate_series(1, {}) g", ROWS[1]));
    let sum = "select count(*) || ' ' || md5(string_agg(md5, '' order by g, md5)) from t";
    let expected = database.query(sum);
    await_archive(&database);
    database.server(&["stop", "-m", "immediate"]);

    let listed = run(database.cloud("barman-cloud-backup-list").args(["--format", "json", &to, "main"]));
    let listed: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
    let backup = listed["backups_list"][0]["backup_id"].as_str().expect("a backup").to_owned();
    let restored = Database { front: &front, programs, data: front.path("restored") };
    run(restored.cloud("barman-cloud-restore").args([&to, "main", &backup]).arg(&restored.data));
    let fetch = in_settings(&front, "barman-cloud-wal-restore", &format!("{to} main %f %p"));
    restored.configure(&format!("archive_mode = off\nrestore_command = '{fetch}'"));
    fs::write(restored.data.join("recovery.signal"), "").expect("a writable folder");
    restored.server(&["start"]);
    // It lets readers in before it has read the log to its end.
    let started = Instant::now();
    while restored.query("select pg_is_in_recovery()") != "f" {
        assert!(started.elapsed() < PATIENCE, "it is still recovering");
    }
    assert_eq!(restored.query(sum), expected);
    restored.server(&["stop", "-m", "immediate"]);
    front.stop();
}

/// The server's user makes its folders here.
fn open_to_all(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).expect("its mode");
}
