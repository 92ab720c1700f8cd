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
            let why = format!("{python} has no moto.server; pip install 'moto[server]'");
            assert!(
                std::env::var_os("TIDEGATE_NIGHTLY").is_none(),
                "a nightly run leaves nothing out: {why}"
            );
            println!("not run: {why}");
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
        let part = |name: &str| keys.value(name).expect("it is in the answer");
        (part("AccessKeyId"), part("SecretAccessKey"))
    }

    /// Makes a network in EC2 with two subnets; their ids.
    pub(crate) fn two_subnets(&self) -> (String, String) {
        let make = |form: &str, id: &str| self.query("ec2", form).value(id).expect("it is made");
        let network = make("Action=CreateVpc&CidrBlock=10.0.0.0/16", "vpcId");
        let subnet =
            |range: &str| make(&format!("Action=CreateSubnet&VpcId={network}&CidrBlock={range}"), "subnetId");
        (subnet("10.0.1.0/24"), subnet("10.0.2.0/24"))
    }

    /// A call by the Query protocol of a service, as long as keys are not checked; its answer.
    pub(crate) fn query(&self, service: &str, form: &str) -> Xml {
        let version = if service == "ec2" { "2016-11-15" } else { "2010-05-08" };
        let form = format!("{form}&Version={version}");
        let body = ("application/x-www-form-urlencoded", form.as_str());
        let (head, body) = self.exchange("POST", "/", Some(service), Some(body)).expect("moto answers");
        let body = String::from_utf8(body).expect("text");
        assert!(head.contains(" 200 "), "{form}: {head}\n{body}");
        Xml::parse(&body)
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

/// An element of an answer in XML, without its attributes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Xml {
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) children: Vec<Xml>,
}

impl Xml {
    /// Reads an answer; entities stay as they are written.
    pub(crate) fn parse(text: &str) -> Self {
        let mut open = vec![Self::default()];
        for part in text.split('<').skip(1) {
            let (tag, text) = part.split_once('>').expect("a tag ends");
            let name = tag.trim_end_matches('/').split_whitespace().next().unwrap_or_default().to_owned();
            match tag.as_bytes() {
                [b'?' | b'!', ..] => {}
                [b'/', ..] => {
                    let closed = open.pop().expect("it was opened");
                    open.last_mut().expect("the document").children.push(closed);
                }
                [.., b'/'] => {
                    open.last_mut().expect("the document").children.push(Self { name, ..Self::default() })
                }
                _ => open.push(Self { name, ..Self::default() }),
            }
            open.last_mut().expect("the document").text.push_str(text);
        }
        open.remove(0)
    }

    /// All elements of a name, however deep.
    pub(crate) fn all(&self, name: &str) -> Vec<&Self> {
        let below = self.children.iter().flat_map(|child| child.all(name));
        self.children.iter().filter(|child| child.name == name).chain(below).collect()
    }

    /// The element of a name that lies directly in this one.
    pub(crate) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The text of the first element of a name, however deep.
    pub(crate) fn value(&self, name: &str) -> Option<String> {
        self.all(name).first().map(|found| found.text.clone())
    }
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
