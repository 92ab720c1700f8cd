//! moto's server as a process: what S3, EBS and EC2 of AWS answer, without AWS. It knows the Glacier flow, is told how fast a thaw goes
//! on, and keeps, where it is asked to, what it was asked.
//!
//! Needs a Python with `moto[server]` (`pip install 'moto[server,ec2,ebs]'`): `TIDEGATE_TEST_PYTHON`, else the one that
//! `packaging/setup.sh nightly` has made in the cache, else `python3`. Without it there is nothing to test, and the test says so.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long it may take to listen.
const START_MAX: Duration = Duration::from_mins(1);
/// Lines of its log until it says where it listens.
const LINES_MAX: usize = 50;

/// A server that is ended with this.
pub(crate) struct Moto {
    process: Child,
    /// `127.0.0.1:port`.
    address: String,
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Moto {
    /// Starts one on a port of its choice; none where there is no moto.
    pub(crate) fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// The same, in an environment with more in it.
    pub(crate) fn start_with(variables: &[(&str, &str)]) -> Option<Self> {
        let python = python();
        let has_moto = Command::new(&python).args(["-c", "import moto.server"]).output();
        if !has_moto.is_ok_and(|done| done.status.success()) {
            println!("not run: {python} has no moto.server; pip install 'moto[server]'");
            return None;
        }
        let mut process = Command::new(&python)
            .args(["-u", "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"])
            .envs(variables.iter().copied())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("moto starts");
        let mut log = BufReader::new(process.stderr.take().expect("it is piped"));
        let address = address_in(&mut log);
        // Its log goes on, and is to go somewhere.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        let address = address.unwrap_or_else(|| {
            let _ = process.kill();
            panic!("moto did not say where it listens")
        });
        let moto = Self { process, address };
        moto.wait();
        Some(moto)
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Makes a bucket.
    pub(crate) fn create_bucket(&self, bucket: &str) {
        assert!(self.ask("PUT", &format!("/{bucket}"), "").is_some_and(|answer| answer.contains(" 200 ")));
    }

    /// From now on a thaw takes so many looks at its object.
    pub(crate) fn thaw_after(&self, looks: u32) {
        let body = format!(
            r#"{{"model_name": "s3::keyrestore", "transition": {{"progression": "manual", "times": {looks}}}}}"#
        );
        let answer = self.ask("POST", "/moto-api/state-manager/set-transition", &body);
        assert!(answer.as_ref().is_some_and(|answer| answer.contains(" 201 ")), "{answer:?}");
    }

    /// From now on requests must be signed with keys that it has made, and allowed.
    pub(crate) fn begin_to_check_keys(&self) {
        let answer = self.ask("POST", "/moto-api/reset-auth", "0");
        assert!(answer.as_ref().is_some_and(|answer| answer.contains(" 200 ")), "{answer:?}");
    }

    /// Makes keys that a policy allows something, in JSON; gives access key id and secret.
    pub(crate) fn make_keys(&self, policy: &str) -> (String, String) {
        let policy: String = policy.bytes().map(|byte| format!("%{byte:02X}")).collect();
        self.query("iam", "Action=CreateUser&UserName=gateway");
        let policy = format!("UserName=gateway&PolicyName=rights&PolicyDocument={policy}");
        self.query("iam", &format!("Action=PutUserPolicy&{policy}"));
        let keys = self.query("iam", "Action=CreateAccessKey&UserName=gateway");
        let part = |name: &str| value(&keys, name).expect("it is in the answer");
        (part("AccessKeyId"), part("SecretAccessKey"))
    }

    /// Makes a network in EC2 with two subnets; their ids.
    pub(crate) fn two_subnets(&self) -> (String, String) {
        let make = |form: &str, id: &str| {
            value(&self.query("ec2", &format!("{form}&Version=2016-11-15")), id).expect("it is made")
        };
        let network = make("Action=CreateVpc&CidrBlock=10.0.0.0/16", "vpcId");
        let subnet =
            |range: &str| make(&format!("Action=CreateSubnet&VpcId={network}&CidrBlock={range}"), "subnetId");
        (subnet("10.0.1.0/24"), subnet("10.0.2.0/24"))
    }

    /// A call by the Query protocol of a service, as long as keys are not checked; its answer.
    pub(crate) fn query(&self, service: &str, form: &str) -> String {
        let body = ("application/x-www-form-urlencoded", form);
        let (head, body) = self.exchange("POST", "/", Some(service), Some(body)).expect("moto answers");
        let body = String::from_utf8(body).expect("text");
        assert!(head.contains(" 200 "), "{form}: {head}\n{body}");
        body
    }

    /// Gets a resource of a service, as long as keys are not checked.
    pub(crate) fn get(&self, service: &str, path: &str) -> Vec<u8> {
        let (head, body) = self.exchange("GET", path, Some(service), None).expect("moto answers");
        assert!(head.contains(" 200 "), "{path}: {head}");
        body
    }

    fn wait(&self) {
        let until = Instant::now() + START_MAX;
        while self.ask("GET", "/moto-api/data.json", "").is_none() {
            assert!(Instant::now() < until, "moto does not answer");
            std::thread::yield_now();
        }
    }

    /// A request without a signature, which moto does not look at; its head.
    fn ask(&self, method: &str, path: &str, body: &str) -> Option<String> {
        let (head, _) = self.exchange(method, path, None, Some(("application/json", body)))?;
        Some(head)
    }

    /// A request, to a service if that is not to be seen from its path; head and body of the answer.
    fn exchange(
        &self,
        method: &str,
        path: &str,
        service: Option<&str>,
        body: Option<(&str, &str)>,
    ) -> Option<(String, Vec<u8>)> {
        let (kind, body) = body.unwrap_or(("text/plain", ""));
        let (host, length) = (&self.address, body.len());
        let scope = service.map(|service| {
            format!("Authorization: AWS4-HMAC-SHA256 Credential=none/20260101/us-east-1/{service}/aws4_request\r\n")
        });
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\nContent-Type: {kind}\r\n{}\
             Connection: close\r\n\r\n{body}",
            scope.unwrap_or_default()
        );
        let mut stream = TcpStream::connect(&self.address).ok()?;
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        let end = answer.windows(4).position(|end| end == b"\r\n\r\n")?;
        let body = answer.split_off(end + 4);
        Some((String::from_utf8(answer).ok()?, body))
    }
}

/// The text of the first element of a name, in an answer in XML.
pub(crate) fn value(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    Some(rest.split('<').next()?.to_owned())
}

/// The items of a list in XML that has no lists in it.
pub(crate) fn items(xml: &str) -> Vec<&str> {
    xml.split("<item>").skip(1).collect()
}

/// The Python that has moto, if any has.
fn python() -> String {
    if let Ok(python) = std::env::var("TIDEGATE_TEST_PYTHON") {
        return python;
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let made = cache.map(|cache| cache.join("tidegate/tools/moto/bin/python")).filter(|made| made.exists());
    made.map_or_else(|| "python3".to_owned(), |made| made.display().to_string())
}

/// ` * Running on http://127.0.0.1:43210`.
fn address_in(log: &mut impl BufRead) -> Option<String> {
    for line in log.lines().take(LINES_MAX) {
        let line = line.ok()?;
        if let Some((_, rest)) = line.split_once("Running on http://") {
            let end = rest.find(|end: char| end.is_whitespace() || end == '/').unwrap_or(rest.len());
            return Some(rest[..end].to_owned());
        }
    }
    None
}
