//! Claims about settings as a whole: whatever is written reads the same, and whatever is wrong is
//! named, with all other wrong things, at once.

use proptest::prelude::*;

use super::*;

const LEAST: &str = "
[repository]
key = { file = \"/etc/tidegate/key\" }
[[target]]
name = \"main\"
address = \"file:///srv/repository\"
";

fn problems_of(text: &str) -> Vec<Problem> {
    Settings::parse(text).expect_err(text).problems
}

/// The settings with one line added below a heading.
fn with(heading: &str, line: &str) -> String {
    if LEAST.contains(heading) {
        LEAST.replace(heading, &format!("{heading}\n{line}"))
    } else {
        format!("{LEAST}\n{heading}\n{line}\n")
    }
}

#[test]
fn the_least_settings_are_a_key_and_a_target() {
    let settings = Settings::parse(LEAST).expect("enough");
    assert_eq!(settings.gateway.memory, Size::mib(512));
    assert!(settings.shares.is_empty());
    let missing: Vec<String> = problems_of("").into_iter().map(|problem| problem.key).collect();
    assert!(missing.contains(&"repository.key".to_owned()), "{missing:?}");
}

#[test]
fn every_default_is_within_its_own_range_and_form() {
    let settings = Settings::parse(&format!("{LEAST}[[share]]\nname = \"docs\"\n")).expect("defaults");
    assert_eq!(Settings::parse(&settings.to_toml()), Ok(settings));
}

#[test]
fn all_problems_come_at_once_each_with_key_line_and_value() {
    let text = "[gateway]\nmemory = \"1MiB\"\ncolour = \"red\"\n[nfs]\nlisten = [\"here\"]\n[[share]]\nname = \"docs\"\nrpo = \"soon\"\n[pail]\n";
    let error = Settings::parse(text).expect_err("wrong").to_string();
    for part in [
        "gateway.memory, line 2: \"1MiB\" is out of range; write from \"128MiB\" to \"1TiB\"",
        "gateway.colour, line 3: is no key here; there are data, memory",
        "nfs.listen, line 5: [\"here\"] has an element 0 that is no address and port",
        "share.docs.rpo, line 8: \"soon\" is not a number and a unit; write a duration such as",
        "pail, line 9: is no table here",
        "repository.key: is missing",
    ] {
        assert!(error.contains(part), "{part}\nis not in\n{error}");
    }
}

#[test]
fn every_wrong_value_names_its_key() {
    let wrong = [
        ("[gateway]", "data = \"relative\"", "gateway.data"),
        ("[gateway]", "data = 7", "gateway.data"),
        ("[gateway]", "memory = 512", "gateway.memory"),
        ("[gateway]", "memory = \"2TiB\"", "gateway.memory"),
        ("[gateway]", "socket = \"/a/../b\"", "gateway.socket"),
        ("[gateway]", "metrics = \"localhost\"", "gateway.metrics"),
        ("[gateway]", "log_format = \"xml\"", "gateway.log_format"),
        ("[gateway]", "log_level = true", "gateway.log_level"),
        ("[cache]", "disk = \"1MiB\"", "cache.disk"),
        ("[cache]", "dirty = \"-1GiB\"", "cache.dirty"),
        ("[nfs]", "listen = \"0.0.0.0:2049\"", "nfs.listen"),
        ("[nfs]", "portmap = [111]", "nfs.portmap"),
        ("[nfs]", "rpcbind = 111", "nfs.rpcbind"),
        ("[[target]]", "endpoint = \"ftp://x\"", "target.main.endpoint"),
        ("[[target]]", "region = \"\"", "target.main.region"),
        ("[[target]]", "style = \"host\"", "target.main.style"),
        ("[[target]]", "credentials = \"AKIA:secret\"", "target.main.credentials"),
        ("[[target]]", "upload_rate = \"10MiB\"", "target.main.upload_rate"),
        ("[[target]]", "connections = 0", "target.main.connections"),
        ("[[target]]", "connections = 99999999999", "target.main.connections"),
        ("[[share]]", "name = \"Docs\"", "share[0].name"),
        ("[[share]]\nname = \"d\"", "export = \"d\"", "share.d.export"),
        ("[[share]]\nname = \"d\"", "rpo = \"2d\"", "share.d.rpo"),
        ("[[share]]\nname = \"d\"", "clients = [\"10.0.0.1/8\"]", "share.d.clients"),
        ("[[share]]\nname = \"d\"", "clients = []", "share.d.clients"),
        ("[[share]]\nname = \"d\"", "read_only = \"yes\"", "share.d.read_only"),
        ("[[share]]\nname = \"d\"", "squash = \"some\"", "share.d.squash"),
        ("[[share]]\nname = \"d\"", "anonymous_uid = -2", "share.d.anonymous_uid"),
        ("[[share]]\nname = \"d\"", "on_store_lost = \"panic\"", "share.d.on_store_lost"),
        ("[[share]]\nname = \"d\"", "own_key = 1", "share.d.own_key"),
        ("[[share]]\nname = \"d\"", "quota = \"1GiB\"", "share.d.quota"),
        ("[[share]]\nname = \"d\"", "quota = { inodes = { soft = 2, hard = 1 } }", "share.d.quota"),
        ("[[share]]\nname = \"d\"\n[share.quota.bytes]", "hard = 1", "share.d.quota"),
        ("[[share]]\nname = \"d\"", "x = 1", "share.d.x"),
        ("[[policy]]", "name = \"Nightly\"\nshares = []\nevery = \"1h\"\nkeep_last = 1", "policy[0].name"),
        ("[alarms]", "rpo_multiple = 0", "alarms.rpo_multiple"),
        ("[alarms]", "heartbeat_every = \"1s\"", "alarms.heartbeat_every"),
        ("[[notify]]", "name = \"n\"\ncommand = [\"/bin/page\"]\nleast = \"loud\"", "notify.n.least"),
        ("[[notify]]", "name = \"n\"\nwebhook = \"http://far.example.net/x\"", "notify.n.webhook"),
        ("[[notify]]", "name = \"n\"\nwebhook = \"https://me:word@far.example.net/\"", "notify.n.webhook"),
        ("[[notify]]", "name = \"n\"\nwebhook = \"https://h/\"\nheader = \"host\"", "notify.n.header"),
        ("[[notify]]", "name = \"n\"\nsmtp = \"mail.example.net\"", "notify.n.smtp"),
        ("[[notify]]", "name = \"n\"\ncommand = [\"page\"]", "notify.n.command"),
        ("[[notify]]", "name = \"n\"", "notify.n.command"),
        ("[x]", "y = 1", "x"),
    ];
    for (heading, line, key) in wrong {
        let problems = problems_of(&with(heading, line));
        assert_eq!(problems.iter().map(|problem| problem.key.as_str()).collect::<Vec<_>>(), [key], "{line}");
    }
}

#[test]
fn a_secret_written_into_the_file_is_refused_and_not_repeated() {
    for line in [
        "key = \"hunter2\"",
        "key = { file = \"hunter2\" }",
        "key = { password = \"hunter2\" }",
        "key = hunter2",
    ] {
        let text = LEAST.replace("key = { file = \"/etc/tidegate/key\" }", line);
        let error = Settings::parse(&text).expect_err(line).to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let share = |name: &str, more: &str| format!("[[share]]\nname = \"{name}\"\n{more}\n");
    let cases = [
        (format!("{LEAST}{}{}", share("a", ""), share("a", "")), "share.name"),
        (format!("{LEAST}{}{}", share("a", ""), share("b", "export = \"/a\"")), "share.export"),
        (
            format!("{LEAST}[[target]]\nname = \"two\"\naddress = \"file:///srv/repository\"\n"),
            "target.two.address",
        ),
        (LEAST.replace("[[target]]", "lead = \"two\"\n[[target]]"), "repository.lead"),
        (LEAST.replace("[[target]]", "required = 2\n[[target]]"), "repository.required"),
        (format!("{LEAST}region = \"x\"\n"), "target.main.region"),
        (LEAST.replace("file:///srv/repository", "s3://bucket/p"), "target.main.region"),
        (LEAST.replace("/srv/repository", "/var/lib/tidegate/repository"), "target.main.address"),
        (format!("{LEAST}{}[nfs]\nlisten = []\n", share("a", "")), "nfs.listen"),
        (format!("{LEAST}[nfs]\nportmap = [\"0.0.0.0:111\"]\nrpcbind = true\n"), "nfs.rpcbind"),
        ("[repository]\nkey = { env = \"K\" }\n".to_owned(), "target"),
        ("repository = 3\n[[target]]\nname = \"t\"\naddress = \"file:///srv\"\n".to_owned(), "repository"),
        (format!("target = {{}}\n{}", LEAST.split("[[target]]").next().expect("a first part")), "target"),
    ];
    for (text, key) in cases {
        let keys: Vec<String> = problems_of(&text).into_iter().map(|problem| problem.key).collect();
        assert!(keys.contains(&key.to_owned()), "{key} is not among {keys:?} of\n{text}");
    }
}

#[test]
fn a_quota_may_stand_under_a_heading_of_its_own() {
    let inline = "quota = { bytes = { hard = \"1GiB\" }, grace = \"1d\" }\n";
    let heading = "[share.quota]\ngrace = \"1d\"\n[share.quota.bytes]\nhard = \"1GiB\"\n";
    let read = |quota: &str| Settings::parse(&format!("{LEAST}[[share]]\nname = \"docs\"\n{quota}"));
    let settings = read(inline).expect("fine");
    assert_eq!(read(heading), Ok(settings.clone()));
    assert_eq!(settings.shares[0].quota.as_ref().map(|quota| quota.grace), Some(Span::days(1)));
}

#[test]
fn one_table_travels_alone() {
    let quota = "quota = { bytes = { soft = \"1GiB\", hard = \"2GiB\" }, inodes = { hard = 7 } }";
    let settings = Settings::parse(&format!("{LEAST}[[share]]\nname = \"docs\"\nrpo = \"5s\"\n{quota}\n"))
        .expect("fine");
    let text = table_to_toml(&settings.shares[0]);
    assert_eq!(table_from_toml::<Share>(&text).as_ref(), Ok(&settings.shares[0]));
    assert!(table_from_toml::<Share>("name = 1").is_err() && table_from_toml::<Share>("= ").is_err());
}

#[test]
fn every_table_is_on_the_page() {
    let page = settings_page();
    for table in TABLES {
        let named = [format!("[{table}]"), format!("[{table}.NAME]")];
        assert!(named.iter().any(|named| page.contains(named)), "{table}");
    }
}

#[test]
fn the_page_of_settings_is_what_the_code_says() {
    crate::cli::pages::assert_page("docs/settings.md", &settings_page());
}

#[test]
fn the_packaged_settings_are_valid() {
    Settings::parse(include_str!("../../../packaging/tidegate.toml"))
        .expect("the example can be used as it is");
}

prop_compose! {
    fn quota()(
        limits in any::<[[u32; 2]; 2]>(),
        set in 1usize..16,
        days in 0u64..=3650,
    ) -> Quota {
        let part = |at: usize| {
            let [one, other] = limits[at];
            let is_set = |limit: usize| set >> (2 * at + limit) & 1 == 1;
            let limit = |limit: usize, value: u32| is_set(limit).then(|| u64::from(value.max(1)));
            (limit(0, one.min(other)), limit(1, one.max(other)))
        };
        let ((bytes_soft, bytes_hard), (soft, hard)) = (part(0), part(1));
        let count = |limit: Option<u64>| limit.map(|limit| Count::parse(&(limit as i64).into()).expect("from 1 on"));
        Quota {
            bytes: Limits { soft: bytes_soft.map(Size), hard: bytes_hard.map(Size) },
            inodes: Limits { soft: count(soft), hard: count(hard) },
            grace: Span::days(days),
        }
    }
}

prop_compose! {
    fn shares()(
        count in 0usize..4,
        rpo in 1u64..=86_400,
        flags in any::<[bool; 4]>(),
        squash in prop::sample::select(Squash::ALL),
        lost in prop::sample::select(OnStoreLost::ALL),
        anonymous in any::<[u32; 2]>(),
        quota in prop::option::of(quota()),
        bits in 0u8..=32,
    ) -> Vec<Share> {
        (0..count).map(|at| Share {
            name: format!("share-{at}").parse().expect("a name"),
            export: flags[0].then(|| format!("/exports/{at}").parse().expect("a path")),
            rpo: Span::seconds(rpo),
            rto: flags[0].then(|| Span::seconds(rpo)),
            rto_hot: flags[1].then(|| Span::seconds(rpo)),
            rto_whole: flags[2].then(|| Span::days(rpo.min(3_650))),
            accept_risk: flags[3],
            warm: Warm::ALL[at % Warm::ALL.len()],
            thaw_on_read: flags[1],
            clients: vec![format!("0.0.0.0/{bits}").parse().expect("a network"), "::/0".parse().expect("a network")],
            secure_ports: flags[2],
            read_only: flags[1],
            follow: flags[2],
            squash,
            anonymous_uid: anonymous[0],
            anonymous_gid: anonymous[1],
            snapshot_folder: flags[3],
            quota: quota.clone(),
            on_store_lost: lost,
            own_key: flags[0],
            keep_handles: flags[0],
        }).collect()
    }
}

proptest! {
    #[test]
    fn whatever_is_written_reads_the_same(
        shares in shares(),
        memory in (128u64 << 20)..=(1 << 40),
        disk in (64u64 << 20)..=(1 << 50),
        words in prop::collection::vec("[ -~]{0,12}", 0..4),
        rate in prop::option::of(any::<u64>()),
        connections in 1u32..=256,
        in_bucket in any::<bool>(),
    ) {
        let mut settings = Settings::parse(LEAST).expect("enough");
        settings.shares = shares;
        settings.gateway.memory = Size(memory);
        settings.cache.disk = Size(disk);
        settings.repository.key = SecretReference::Command([vec!["/bin/key".to_owned()], words].concat());
        settings.targets[0].upload_rate = rate.map(|rate| Rate(Size(rate)));
        settings.targets[0].connections = connections;
        if in_bucket {
            settings.targets[0].address = "s3://bucket/prefix".parse().expect("an address");
            settings.targets[0].endpoint = Some("http://127.0.0.1:9000".parse().expect("a URL"));
            settings.targets[0].style = Some(UrlStyle::Path);
            settings.targets[0].credentials = Credentials::Secret(SecretReference::Environment("S3".into()));
        }
        prop_assert_eq!(Settings::parse(&settings.to_toml()), Ok(settings));
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "(\\[{1,2}(gateway|share|target|nfs)\\]{1,2}\n|[a-z_]{1,8} = (\"[ -~]{0,10}\"|[0-9{}\\[\\]]{0,6})\n){0,12}") {
        let _ = Settings::parse(&text);
    }
}

#[test]
fn buckets_and_access_keys_are_read_and_held_against_each_other() {
    const KEY: &str = "[[access_key]]\nid = \"backup\"\nsecret = { file = \"/etc/secret\" }\n";
    let with = |tables: &str| Settings::parse(&format!("{LEAST}\n{tables}"));
    let settings = with(&format!(
        "[s3]\nlisten = [\"0.0.0.0:9000\"]\n[[share]]\nname = \"files\"\n\
         [[bucket]]\nname = \"back.ups\"\nrpo = \"5s\"\n\
         [[bucket]]\nname = \"files\"\nshare = \"files\"\nread_only = true\n{KEY}buckets = [\"files\"]\n"
    ))
    .expect("they fit");
    assert_eq!(settings.bucket("back.ups").map(|bucket| bucket.rpo), Some(Span::seconds(5)));
    assert_eq!(Settings::parse(&settings.to_toml()).expect("written as read"), settings);
    for (wrong, word) in [
        ("[[bucket]]\nname = \"Upper\"\n".to_owned(), "is no name of a bucket"),
        ("[[bucket]]\nname = \"10.0.0.1\"\n".to_owned(), "is no name of a bucket"),
        ("[[bucket]]\nname = \"abc\"\nshare = \"none\"\n".to_owned(), "names no share"),
        ("[[bucket]]\nname = \"abc\"\n[[bucket]]\nname = \"abc\"\n".to_owned(), "stands twice"),
        ("[[share]]\nname = \"abc\"\n[[bucket]]\nname = \"abc\"\n".to_owned(), "is that of a share too"),
        (
            "[[share]]\nname = \"a\"\n[[bucket]]\nname = \"abc\"\nshare = \"a\"\nrpo = \"5s\"\n".to_owned(),
            "are the share's",
        ),
        (format!("{KEY}buckets = [\"none\"]\n"), "names no bucket"),
        ("[s3]\ncertificate = \"/etc/cert\"\n".to_owned(), "belong together"),
        ("[s3]\ndomain = \"-bad-\"\n".to_owned(), "is no domain name"),
    ] {
        let error = with(&wrong).expect_err(&wrong).to_string();
        assert!(error.contains(word), "{wrong}: {error}");
    }
}

#[test]
fn notifiers_are_read_and_held_against_themselves() {
    let with = |keys: &str| Settings::parse(&format!("{LEAST}\n[[notify]]\nname = \"ops\"\n{keys}\n"));
    let mail = "smtp = \"smtp://mail.example.net\"\nmail_from = \"Tidegate <tg@example.net>\"\n\
                mail_to = [\"ops@example.net\"]\n";
    for fine in [
        "command = [\"/usr/local/bin/page\", \"--loud\"]",
        "webhook = \"https://hooks.example.net/a/b?c=d\"\nheader = \"X-Key\"\nsecret = { env = \"HOOK\" }",
        "webhook = \"http://[::1]:8080/x\"",
        "webhook = { file = \"/etc/tidegate/hook\" }\nremind_every = \"0s\"\ncleared = false",
        mail,
        &format!(
            "{mail}smtp_user = \"tg\"\nsecret = {{ file = \"/etc/tidegate/mail\" }}\nleast = \"critical\""
        ),
    ] {
        let settings = with(fine).unwrap_or_else(|error| panic!("{fine}: {error}"));
        assert_eq!(Settings::parse(&settings.to_toml()), Ok(settings), "{fine}");
    }
    let server = with(mail).expect("fine").notify[0].smtp.clone().expect("set");
    assert_eq!((server.host(), server.port(), server.is_wrapped()), ("mail.example.net", 587, false));
    for (wrong, word) in [
        ("command = [\"/bin/a\"]\nwebhook = \"https://h/\"".to_owned(), "exclude each other"),
        ("command = [\"/bin/a\"]\nsecret = { env = \"S\" }".to_owned(), "finds its own"),
        ("webhook = \"https://h/\"\nmail_to = [\"a@b.net\"]".to_owned(), "keys of mail"),
        ("smtp = \"smtps://h\"\nmail_from = \"a@b.net\"".to_owned(), "who gets the mail"),
        (format!("{mail}smtp_user = \"tg\""), "belong together"),
        ("webhook = \"http://hooks.example.net/hunter2\"".to_owned(), "plain HTTP"),
    ] {
        let error = with(&wrong).expect_err(&wrong).to_string();
        assert!(error.contains(word) && !error.contains("hunter2"), "{wrong}: {error}");
    }
}
