//! Claims about the command line: what it takes, what it refuses, what it answers and how it ends.

use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

mod audit;
mod guides;
mod offline;

use super::*;
use crate::admin::tests::Served;
use crate::admin::tests::fake::FakeStart;
use crate::control::Control as _;

fn parse(line: &str) -> Result<Arguments, clap::Error> {
    let words = std::iter::once("tidegate").chain(line.split(' ').filter(|word| !word.is_empty()));
    described().try_get_matches_from(words).and_then(|matches| Arguments::from_arg_matches(&matches))
}

/// Keeps what is written.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Runs a line against settings; the exit code and the data.
async fn run_line(settings: &Path, line: &str) -> (u8, String) {
    let arguments = parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    let data = Shared::default();
    let terminal = Terminal::new(arguments.options.json, true, data.clone());
    let context = Context { file: SettingsFile::new(settings), terminal };
    let code = match Box::pin(dispatch(&context, arguments.command, &FakeStart)).await {
        Ok(()) => 0,
        Err(failure) => failure.code,
    };
    let data = data.0.lock().clone();
    (code, String::from_utf8(data).expect("text"))
}

async fn code(settings: &Path, line: &str) -> u8 {
    run_line(settings, line).await.0
}

#[test]
fn the_description_of_the_command_line_is_sound() {
    described().debug_assert();
}

#[test]
fn every_help_text_ends_with_the_exit_codes() {
    fn check(command: &clap::Command) {
        let help = command.clone().render_long_help().to_string();
        // Monitoring systems have codes of their own.
        let last = if command.get_name() == "watch" { super::watch::HELP } else { super::exit::HELP };
        assert!(help.trim_end().ends_with(last), "{help}");
        command.get_subcommands().for_each(check);
    }
    let mut command = described();
    command.build();
    check(&command);
}

#[test]
fn wrong_lines_are_refused() {
    for line in [
        "",
        "unknown",
        "snapshot",
        "snapshot create",
        "snapshot create docs --tag novalue",
        "snapshot diff docs yesterday",
        "restore docs relative",
        "restore docs --to x --remove-newer",
        "check --read-data=0%",
        "check --seed 1",
        "rollback docs",
        "rollback docs now",
        "commit",
        "status --loud",
        "share add",
        "access-key change",
        "access-key change backup --gids 1 --no-gids",
        "access-key change backup --bucket photos --all-buckets",
        "access-key change backup --read-only=maybe",
        "target limit main",
        "target limit main --off --up 1MiB/s",
        "target limit main --up 1MiB/s --for soon",
        "policy",
        "policy simulate nightly --for soon",
        "policy simulate nightly --from yesterday",
    ] {
        let error = parse(line).expect_err(line);
        assert!(error.exit_code() == 2, "{line}: {error}");
    }
}

#[tokio::test]
async fn what_is_lost_is_shown_and_decides_how_the_command_ends() {
    let served = Served::start().await;
    let (code, shown) = run_line(&served.file(), "scrub status").await;
    assert_eq!(code, 9, "{shown}");
    assert!(shown.starts_with("lost: pack 0a0a") && shown.contains("it is missing"), "{shown}");
    assert_eq!(self::code(&served.file(), "target limit nowhere --down none").await, 4);
}

#[tokio::test]
async fn each_command_reaches_the_running_gateway() {
    let served = Served::start().await;
    for (line, shown) in [
        ("status", "up 1 min 1 s"),
        ("share list", "/docs"),
        ("target limit main --up 5MiB/s --for 1h", "link to main: up 0 B/s, at most 5.0 MiB/s"),
        ("target limit main --off", "rates: set by hand"),
        ("scrub run", "nothing is lost"),
        (
            "share add a --export /x --rpo 5s --client 10.0.0.0/8 --squash all --read-only --own-key",
            "share a added",
        ),
        ("share remove a --dry-run", "share a would be removed\n  clients lose /x"),
        ("share remove a --yes", "share a removed"),
        ("token add ops --role operator --share docs --for 1d", "token ops, role operator\n\n  tidegate_"),
        ("token list", "ops    operator  docs"),
        ("token remove ops --dry-run", "token ops would be removed"),
        ("token remove ops --yes", "token ops removed"),
        (
            "bucket add photos --durable repository --quota-bytes 1GiB --quota-objects 9",
            "bucket photos added",
        ),
        ("bucket list", "photos"),
        ("bucket lifecycle photos --dry-run", "3 looked at; would be expired 1"),
        ("bucket remove photos --yes", "bucket photos removed"),
        ("commit docs", "head head-1 (number 1)"),
        ("commit docs --detach", "started"),
        ("head list docs", "NUMBER  EPOCH"),
        ("snapshot create docs one --tag why=test", "snapshot one (id-of-one): 3 files, 4.0 KiB"),
        ("snapshot list docs", "why=test"),
        ("snapshot diff docs snapshot:one", "+ /a\n- /b\\xff"),
        ("snapshot remove docs one --dry-run", "snapshot one (id-of-one) would be removed"),
        ("snapshot remove docs one --yes", "snapshot one (id-of-one) removed"),
        ("restore docs /x --from head --yes", "restored 1 files"),
        ("restore docs /x --dry-run", "would restore 0 files"),
        ("rollback docs head --dry-run", "+ /a"),
        ("rollback docs head --yes", "to undo: tidegate rollback docs snapshot:before-rollback"),
        ("handover docs --yes", "tidegate attach docs"),
        ("handover docs --take-back", "is served from here again"),
        ("clone docs copy --from snapshot:before-rollback", "share copy ("),
        ("job list", "snapshot-create"),
    ] {
        let (code, data) = run_line(&served.file(), line).await;
        assert_eq!(code, 0, "{line}");
        assert!(data.contains(shown), "{line} shows\n{data}");
    }
}

#[tokio::test]
async fn policies_are_shown_run_and_foretold() {
    let served = Served::start().await;
    let policy = "[[policy]]\nname = \"nightly\"\nshares = [\"docs\"]\nschedule = \"30 2 * * *\"\nkeep_daily = 7\nkeep_monthly = 12\n";
    let text = std::fs::read_to_string(served.file()).expect("text");
    std::fs::write(served.file(), format!("{text}{policy}")).expect("written");
    let settings = SettingsFile::new(served.file()).load().expect("valid");
    served.gateway.apply(Arc::new(settings)).await.expect("applied");
    for (line, shown) in [
        (
            "policy list",
            "nightly  docs    30 2 * * * UTC  1970-01-01T00:00:00Z  -              1          none since",
        ),
        ("policy show nightly", "docs   1970-01-01T00:00:00Z  id-of-it  newest, daily"),
        ("policy run nightly --tag why=test", "share docs: snapshot id-of-nightly, 0 forgotten, 1 kept"),
        ("policy run nightly --detach", "started"),
        (
            "policy simulate nightly --from 2026-01-01T00:00:00Z",
            "365 runs, at most 18 snapshots of a share; in the end 18 are kept",
        ),
        (
            "policy simulate nightly --from 2026-01-01T00:00:00Z --for 2d",
            "2026-01-02T02:30:00Z  newest, daily",
        ),
        ("status", "nightly  docs"),
    ] {
        let (code, data) = run_line(&served.file(), line).await;
        assert_eq!(code, 0, "{line}");
        assert!(data.contains(shown), "{line} shows\n{data}");
        if !line.contains("detach") {
            let (_, data) = run_line(&served.file(), &format!("{line} --json")).await;
            assert!(data.is_empty() || serde_json::from_str::<serde_json::Value>(&data).is_ok(), "{line}");
        }
    }
    for (line, expected) in [
        ("policy show none", 4),
        ("policy run none", 4),
        ("policy simulate none", 4),
        ("policy simulate nightly --for 0d", 2),
        ("policy simulate nightly --for 31y", 2),
        ("share remove docs --yes", 3),
    ] {
        assert_eq!(code(&served.file(), line).await, expected, "{line}");
    }
    served.stop.cancel();
    served.ended().await;
    assert_eq!(code(&served.file(), "policy simulate nightly").await, 0, "it needs no gateway");
    assert_eq!(code(&served.file(), "policy list").await, 11);
}

#[tokio::test]
async fn json_is_asked_for_and_given_by_every_command() {
    let served = Served::start().await;
    for line in [
        "status",
        "share list",
        "bucket list",
        "access-key list",
        "commit docs",
        "head list docs",
        "snapshot create docs",
        "job list",
    ] {
        let (code, data) = run_line(&served.file(), &format!("{line} --json")).await;
        assert_eq!(code, 0, "{line}");
        serde_json::from_str::<serde_json::Value>(&data)
            .unwrap_or_else(|error| panic!("{line}: {error}\n{data}"));
    }
}

#[tokio::test]
async fn failures_end_with_their_own_codes() {
    let served = Served::start().await;
    for (line, expected) in [
        ("commit none", 4),
        ("snapshot remove docs none --yes", 4),
        ("share remove none --yes", 4),
        ("bucket remove none --yes", 4),
        ("bucket add UPPER", 3),
        ("bucket add photos --durable soon", 3),
        ("access-key remove none --yes", 4),
        ("job cancel 0", 4),
        ("share add docs", 3),
        ("share add Docs", 3),
        ("share add b --rpo 5", 3),
        ("share add unlucky", 7),
        ("rollback docs head", 2),
        ("restore docs", 2),
        ("restore docs --to /x --detach", 2),
        ("snapshot remove docs one", 2),
    ] {
        assert_eq!(code(&served.file(), line).await, expected, "{line}");
    }
    assert_eq!(code(Path::new("/nowhere/tidegate.toml"), "status").await, 3);
}

#[tokio::test]
async fn an_access_key_gets_a_secret_that_only_its_owner_reads() {
    use std::os::unix::fs::PermissionsExt;
    let served = Served::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let (secret, policy) = (folder.path().join("secret"), folder.path().join("policy"));
    let text = r#"{"Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}}"#;
    std::fs::write(&policy, text).expect("written");
    let add = |options: &str| format!("access-key add backup --secret-file {} {options}", secret.display());
    assert_eq!(code(&served.file(), &add("--policy /nowhere")).await, 1);
    assert_eq!(code(&served.file(), &add("--bucket none")).await, 3);
    assert!(!secret.exists(), "nothing is left of what was refused");
    let (done, data) =
        run_line(&served.file(), &add(&format!("--policy {} --uid 7 --gids 8,9", policy.display()))).await;
    assert_eq!(done, 0, "{data}");
    let kept = std::fs::read_to_string(&secret).expect("made");
    assert!(data.contains(kept.trim()), "it is shown once");
    assert_eq!(std::fs::metadata(&secret).expect("made").permissions().mode() & 0o777, 0o600);
    let (_, listed) = run_line(&served.file(), "access-key list --json").await;
    assert!(!listed.contains(kept.trim()) && listed.contains("backup"), "{listed}");
    let settings = SettingsFile::new(served.file()).load().expect("valid");
    let key = &settings.access_keys[0];
    assert_eq!((key.uid, &key.gids[..], key.policy.is_some()), (7, &[8, 9][..], true));
    assert_eq!(code(&served.file(), &add("")).await, 5, "its id is taken");
    assert_eq!(code(&served.file(), "access-key remove backup --yes").await, 0);
}

#[tokio::test]
async fn an_access_key_changes_in_what_is_named_and_in_nothing_else() {
    let served = Served::start().await;
    let (file, folder) = (served.file(), tempfile::tempdir().expect("a folder"));
    let (secret, policy, empty) =
        (folder.path().join("secret"), folder.path().join("policy"), folder.path().join("empty"));
    let text = r#"{"Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}}"#;
    std::fs::write(&policy, text).expect("written");
    std::fs::write(&empty, "").expect("written");
    assert_eq!(code(&file, "bucket add photos").await, 0);
    let add = format!(
        "access-key add backup --secret-file {} --policy {} --uid 7 --gids 8,9",
        secret.display(),
        policy.display()
    );
    assert_eq!(code(&file, &add).await, 0);
    let key = || SettingsFile::new(&file).load().expect("valid").access_keys.remove(0);
    let before = key();
    for (line, expected) in [
        ("backup".to_owned(), 2),
        ("none --uid 1".to_owned(), 4),
        ("backup --bucket none".to_owned(), 3),
        ("backup --owner a".to_owned(), 3),
        ("backup --policy /nowhere".to_owned(), 1),
        (format!("backup --policy {}", empty.display()), 3),
    ] {
        assert_eq!(code(&file, &format!("access-key change {line}")).await, expected, "{line}");
        assert_eq!(key(), before, "{line}");
    }
    let (done, data) =
        run_line(&file, "access-key change backup --read-only --uid 9 --bucket photos --owner team").await;
    assert!(done == 0 && data.contains("access key backup changed"), "{data}");
    let after = key();
    let buckets: Vec<_> = after.buckets.iter().map(ToString::to_string).collect();
    assert_eq!((after.uid, after.read_only, buckets), (9, true, vec!["photos".to_owned()]));
    assert_eq!((&after.gids, &after.policy, &after.secret), (&before.gids, &before.policy, &before.secret));
    let back = "access-key change backup --read-only=false --all-buckets --no-owner --uid 7";
    assert_eq!(code(&file, back).await, 0);
    assert_eq!(key(), before);
    assert_eq!(code(&file, "access-key change backup --no-policy --no-gids --own-buckets-only").await, 0);
    let after = key();
    assert!(after.policy.is_none() && after.gids.is_empty() && after.own_buckets_only, "{after:?}");
    served.stop.cancel();
    served.ended().await;
    assert_eq!(code(&file, "access-key change backup --gid 5").await, 0, "it needs no gateway");
    assert_eq!((key().gid, key().uid), (5, 7));
}

#[tokio::test]
async fn without_a_gateway_shares_change_in_the_file_and_the_rest_says_so() {
    let served = Served::start().await;
    served.stop.cancel();
    let file = served.file();
    served.ended().await;
    assert_eq!(code(&file, "status").await, 11);
    assert_eq!(code(&file, "share add later").await, 0);
    assert!(SettingsFile::new(&file).load().expect("valid").share("later").is_some());
    assert_eq!(code(&file, "share remove later --yes").await, 0);
    assert_eq!(code(&file, "share remove later --yes").await, 4);
}

#[test]
fn the_page_of_the_command_line_is_what_the_code_says() {
    pages::assert_page("docs/cli.md", &cli_page());
}
