//! A Prometheus of the test: started over one gateway, asked over its API.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tidegate_integration::gateway::free_address;
use tidegate_integration::tools::tool;

use super::rules;

/// How often it scrapes, and looks at the rules.
const EVERY: &str = "500ms";
/// How often it is asked.
pub(super) const POLL: Duration = Duration::from_millis(200);
/// Longer than anything takes to fire or to end on a busy machine: the slowest are looked at once a minute by the gateway.
pub(super) const PATIENCE: Duration = Duration::from_mins(5);

/// See the head of this module. Its process dies with it.
pub(super) struct Prometheus {
    address: SocketAddr,
    process: Child,
}

impl Prometheus {
    /// Starts it in a folder, and waits until it has scraped the gateway whose metrics are at `gateway`; none where there is no
    /// such program.
    pub(super) fn start(folder: &Path, gateway: SocketAddr) -> Option<Self> {
        let program = tool("prometheus")?;
        let address = free_address();
        let config = format!(
            "global: {{ scrape_interval: {EVERY}, scrape_timeout: {EVERY}, evaluation_interval: {EVERY} }}\n\
             rule_files: [rules.yml]\n\
             scrape_configs: [{{ job_name: tidegate, static_configs: [{{ targets: [\"{gateway}\"] }}] }}]\n"
        );
        fs::write(folder.join("prometheus.yml"), config).expect("the folder can be written");
        fs::write(folder.join("rules.yml"), rules::shortened()).expect("the folder can be written");
        let log = File::create(folder.join("prometheus.log")).expect("a log");
        let process = Command::new(program)
            .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("prometheus").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("it runs");
        let prometheus = Self { address, process };
        let has_scraped = || {
            let up = prometheus.query("up");
            up.is_some_and(|up| up["data"]["result"][0]["value"][1] == "1")
        };
        let end = Instant::now() + PATIENCE;
        while !has_scraped() {
            let log = || fs::read_to_string(folder.join("prometheus.log")).unwrap_or_default();
            assert!(Instant::now() < end, "Prometheus does not scrape the gateway:\n{}", log());
            std::thread::sleep(POLL);
        }
        prometheus.check_rules();
        Some(prometheus)
    }

    /// Every rule was loaded, and none fails to be looked at.
    fn check_rules(&self) {
        let rules = self.query_path("/api/v1/rules").expect("an answer");
        let rules = rules["data"]["groups"][0]["rules"].as_array().expect("rules").clone();
        assert_eq!(rules.len(), super::alerts().len());
        for rule in rules {
            assert_ne!(rule["health"], "err", "{rule:#}");
        }
    }

    fn query(&self, expression: &str) -> Option<Value> {
        self.query_path(&format!("/api/v1/query?query={expression}"))
    }

    fn query_path(&self, path: &str) -> Option<Value> {
        serde_json::from_str(&get(self.address, path)?).ok()
    }

    /// The alerts that fire now, with their labels.
    fn alerts(&self) -> Vec<Value> {
        let answer = self.query_path("/api/v1/alerts").expect("Prometheus answers");
        let alerts = answer["data"]["alerts"].as_array().expect("a list");
        alerts.iter().filter(|alert| alert["state"] == "firing").cloned().collect()
    }

    /// The names of the alerts that fire now.
    pub(super) fn firing(&self) -> BTreeSet<String> {
        let name = |alert: &Value| alert["labels"]["alertname"].as_str().expect("a name").to_owned();
        self.alerts().iter().map(name).collect()
    }

    /// Waits until `is_so` of the alerts that fire; `meanwhile` is called before each look.
    fn wait(&self, what: &str, mut meanwhile: impl FnMut(), is_so: impl Fn(&BTreeSet<String>) -> bool) {
        let begun = Instant::now();
        loop {
            meanwhile();
            let firing = self.firing();
            if is_so(&firing) {
                println!("{what}: after {:.1} s", begun.elapsed().as_secs_f64());
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{what}: not so. Firing: {:#?}", self.alerts());
            std::thread::sleep(POLL);
        }
    }

    /// Waits until all of these have fired, each at some time: one cause may end another.
    pub(super) fn until_fired(&self, alerts: &[&str], meanwhile: impl FnMut()) {
        let seen = std::cell::RefCell::new(BTreeSet::new());
        self.wait(&format!("{} fire", alerts.join(", ")), meanwhile, |firing| {
            let mut seen = seen.borrow_mut();
            seen.extend(firing.iter().cloned());
            alerts.iter().all(|alert| seen.contains(*alert))
        });
    }

    /// Waits until none of these fires.
    pub(super) fn until_over(&self, alerts: &[&str]) {
        let is_over = |firing: &BTreeSet<String>| !alerts.iter().any(|alert| firing.contains(*alert));
        self.wait(&format!("{} over", alerts.join(", ")), || {}, is_over);
    }

    /// Nothing fires now, and for so long.
    pub(super) fn stays_silent(&self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            let alerts = self.alerts();
            assert!(alerts.is_empty(), "a gateway that is well: {alerts:#?}");
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The body of an answer to a GET; none where nobody answers, or not with 200.
pub(super) fn get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.split(' ').nth(1).is_some_and(|status| status == "200").then(|| body.to_owned())
}
