//! moto, a network in it, and what it was asked.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use tidegate_gateway::control::JobHandle;
use tidegate_gateway::machine::{Ec2Provider, MachineDisk, MachineSpec, Provider, ProviderError, Running};
use tidegate_gateway::settings::{Machine, Settings};

use crate::disk::{BLOCK, Disk};
use crate::moto::{Moto, Xml};

/// What stands in for AWS, with two subnets.
pub struct Place {
    pub moto: Moto,
    pub folder: TempDir,
    pub subnet: String,
    pub drill_subnet: String,
}

impl Place {
    /// None where there is no moto.
    pub fn new() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let asked = folder.path().join("asked").display().to_string();
        let moto =
            Moto::start_with(&[("MOTO_ENABLE_RECORDING", "true"), ("MOTO_RECORDER_FILEPATH", &asked)])?;
        let (subnet, drill_subnet) = moto.two_subnets();
        Some(Self { moto, folder, subnet, drill_subnet })
    }

    /// The settings of a machine, with further lines.
    pub fn machine(&self, more: &str) -> Machine {
        let keys = self.folder.path().join("keys");
        if !keys.exists() {
            self.write_keys("testing", "testing");
        }
        let Self { subnet, drill_subnet, .. } = self;
        let text = format!(
            "[repository]\nkey = {{ env = \"K\" }}\n[[target]]\nname = \"t\"\naddress = \"file:///srv/r\"\n\
             [[share]]\nname = \"vm\"\n[[volume]]\nname = \"disk\"\nshare = \"vm\"\npath = \"/disk\"\n\
             [[machine]]\nname = \"web\"\nprovider = \"ec2\"\nvolumes = [\"disk\"]\nregion = \"us-east-1\"\n\
             endpoint = \"{}\"\ncredentials = {{ file = \"{}\" }}\ninstance_type = \"t3.small\"\n\
             subnet = \"{subnet}\"\ndrill_subnet = \"{drill_subnet}\"\ntimeout = \"30s\"\n{more}",
            self.moto.endpoint(),
            keys.display(),
        );
        Settings::parse(&text).unwrap().machines.remove(0)
    }

    pub fn write_keys(&self, id: &str, secret: &str) {
        let keys = self.folder.path().join("keys");
        std::fs::write(&keys, format!("{id}\n{secret}\n")).unwrap();
        std::fs::set_permissions(&keys, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Requests that were made so far whose method and path (or action) begin so.
    pub fn asked(&self, what: &str) -> Vec<Asked> {
        let text = std::fs::read_to_string(self.folder.path().join("asked")).unwrap_or_default();
        // The last one may be being written; ends of lines come when they come.
        let all = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
        let all = all.map_while(Result::ok).map(|entry| Asked::of(&entry));
        all.filter(|asked| asked.what.starts_with(what)).collect()
    }

    /// Blocks that were sent so far, in the order in which they came.
    pub fn puts(&self) -> Vec<u32> {
        let puts = self.asked("PUT /snapshots/");
        puts.iter().map(|put| put.what.rsplit('/').next().unwrap().parse().unwrap()).collect()
    }

    /// Snapshots that the provider has made.
    pub fn snapshots(&self) -> Vec<Thing> {
        self.things(
            "Action=DescribeSnapshots&Owner.1=self&Filter.1.Name=tag-key&Filter.1.Value.1=tidegate:owner",
            "snapshotId",
        )
    }

    /// What a snapshot holds, over those below it: the byte that each block is full of.
    pub fn content(&self, snapshot: &str) -> BTreeMap<u32, u8> {
        let (mut content, mut next, known) = (BTreeMap::new(), Some(snapshot.to_owned()), self.snapshots());
        while let Some(snapshot) = next {
            let listed = self.moto.get("ebs", &format!("/snapshots/{snapshot}/blocks"));
            let listed: Value = serde_json::from_slice(&listed).unwrap();
            for block in listed["Blocks"].as_array().unwrap() {
                let (at, token) =
                    (block["BlockIndex"].as_u64().unwrap(), block["BlockToken"].as_str().unwrap());
                let bytes =
                    self.moto.get("ebs", &format!("/snapshots/{snapshot}/blocks/{at}?blockToken={token}"));
                assert!(
                    bytes.len() as u64 == BLOCK && bytes.iter().all(|byte| *byte == bytes[0]),
                    "block {at}"
                );
                content.entry(at as u32).or_insert(bytes[0]);
            }
            let this = known.iter().find(|known| known.id == snapshot).unwrap();
            next = this.tags.get("tidegate:parent").cloned();
        }
        content.retain(|_, byte| *byte != 0);
        content
    }

    /// Instances that have not ended.
    pub fn instances(&self) -> Vec<Thing> {
        let all = self.things("Action=DescribeInstances", "instanceId");
        all.into_iter().filter(|instance| instance.state() != "terminated").collect()
    }

    /// Images of machines.
    pub fn images(&self) -> usize {
        let found = self.moto.query("ec2", "Action=DescribeImages&Owner.1=self");
        found.all("name").iter().filter(|name| name.text.starts_with("tidegate-")).count()
    }

    fn things(&self, form: &str, id: &str) -> Vec<Thing> {
        let answer = self.moto.query("ec2", form);
        answer.all("item").into_iter().filter_map(|item| Thing::of(item, id)).collect()
    }
}

/// Something that EC2 tells of.
#[derive(Debug)]
pub struct Thing {
    pub id: String,
    pub tags: BTreeMap<String, String>,
    told: Xml,
}

impl Thing {
    fn of(item: &Xml, id: &str) -> Option<Self> {
        let tags = item.child("tagSet").map(|tags| tags.children.as_slice()).unwrap_or_default();
        let tags = tags.iter().filter_map(|tag| Some((tag.value("key")?, tag.value("value")?))).collect();
        Some(Self { id: item.child(id)?.text.clone(), tags, told: item.clone() })
    }

    pub fn tag(&self, key: &str) -> Option<&str> {
        self.tags.get(key).map(String::as_str)
    }

    /// How an instance is.
    pub fn state(&self) -> String {
        let state = self.told.child("instanceState").and_then(|state| state.value("name"));
        state.unwrap_or_default()
    }

    /// The subnet of an instance.
    pub fn subnet(&self) -> String {
        self.told.child("subnetId").map(|subnet| subnet.text.clone()).unwrap_or_default()
    }
}

/// A request.
#[derive(Debug)]
pub struct Asked {
    /// `PUT /snapshots/...`, or of EC2 the action.
    pub what: String,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Asked {
    fn of(entry: &Value) -> Self {
        let body = entry["body"].as_str().unwrap_or_default();
        let body = match entry["body_encoded"].as_bool() {
            Some(true) => aws_smithy_types::base64::decode(body).unwrap(),
            _ => body.as_bytes().to_vec(),
        };
        let path = entry["url"].as_str().unwrap().splitn(4, '/').nth(3).unwrap_or_default().to_owned();
        let action = body.strip_prefix(b"Action=").map(|rest| {
            let end = rest.iter().position(|byte| *byte == b'&').unwrap_or(rest.len());
            String::from_utf8_lossy(&rest[..end]).into_owned()
        });
        let what = action.unwrap_or_else(|| format!("{} /{path}", entry["method"].as_str().unwrap()));
        let headers = entry["headers"].as_object().unwrap().iter();
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.as_str().unwrap().to_owned()));
        Self { what, headers: headers.collect(), body }
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A value of a form.
    pub fn value(&self, name: &str) -> Option<String> {
        let text = self.text();
        let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(key, _)| *key == name).map(|(_, value)| value.to_owned()).next()
    }
}

/// A machine in a folder, as one process after the other has it.
pub struct Site {
    pub machine: Machine,
    pub folder: PathBuf,
    /// Whether nothing that it writes is to stay.
    pub scratch: bool,
    disk: Disk,
}

impl Site {
    pub fn new(machine: Machine, folder: &Path, disk: &Disk) -> Self {
        let folder = folder.join(machine.name.as_str());
        Self { machine, folder, scratch: false, disk: disk.clone() }
    }

    pub fn provider(&self) -> Ec2Provider {
        Ec2Provider::new(&self.machine)
    }

    pub fn spec(&self, copies: Vec<String>) -> MachineSpec {
        let disk = MachineDisk { host: "none".into(), port: 0, export: "disk".into(), read_only: false };
        let (name, folder, scratch) = (self.machine.name.to_string(), self.folder.clone(), self.scratch);
        MachineSpec { name, memory_bytes: 1 << 30, cpus: 1, disks: vec![disk], copies, scratch, folder }
    }

    pub fn known(&self) -> Running {
        let name = self.machine.name.to_string();
        Running { id: name.clone(), name, folder: self.folder.clone(), console: None }
    }

    /// What is noted of what was made.
    pub fn note(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.folder.join("ec2.json")).unwrap()).unwrap()
    }

    /// Notes something else.
    pub fn set_note(&self, key: &str, value: impl Into<Value>) {
        let mut note = self.note();
        note[key] = value.into();
        std::fs::write(self.folder.join("ec2.json"), note.to_string()).unwrap();
    }

    pub async fn prepare(&self) -> Result<Vec<String>, ProviderError> {
        self.provider().prepare(&self.spec(Vec::new()), &self.disk, &JobHandle::new()).await
    }

    pub async fn start(&self) -> Result<Running, ProviderError> {
        let copies = self.prepare().await?;
        self.provider().start(&self.spec(copies)).await
    }
}
