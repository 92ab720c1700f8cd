//! moto, a network in it, and what it was asked.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_sdk_ec2::types::{Instance, Snapshot, Tag};
use serde_json::Value;
use tempfile::TempDir;
use tidegate_gateway::control::JobHandle;
use tidegate_gateway::machine::{Ec2Provider, MachineDisk, MachineSpec, Provider, ProviderError, Running};
use tidegate_gateway::settings::{Machine, Settings};
use tidegate_replicator::store::{Connection, Credentials, Style, sdk_config};
use zeroize::Zeroizing;

use crate::disk::{BLOCK, Disk};
use crate::moto::Moto;

/// What stands in for AWS, with two subnets.
pub struct Place {
    pub moto: Moto,
    pub folder: TempDir,
    pub ec2: aws_sdk_ec2::Client,
    ebs: aws_sdk_ebs::Client,
    pub subnet: String,
    pub drill_subnet: String,
}

impl Place {
    /// None where there is no moto.
    pub async fn new() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let asked = folder.path().join("asked").display().to_string();
        let moto = Moto::start_with(&[("MOTO_ENABLE_RECORDING", "true"), ("MOTO_RECORDER_FILEPATH", &asked)])?;
        let connection = Connection {
            endpoint: Some(moto.endpoint()),
            region: "us-east-1".into(),
            style: Style::Path,
            proxy: None,
            ca_file: None,
            connect_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_mins(1),
        };
        let credentials = Credentials::Static {
            access_key: "testing".into(),
            secret_key: Zeroizing::new("testing".into()),
            session_token: None,
        };
        let config = sdk_config(&connection, &credentials, 3).unwrap();
        let (ec2, ebs) = (aws_sdk_ec2::Client::new(&config), aws_sdk_ebs::Client::new(&config));
        let vpc = ec2.create_vpc().cidr_block("10.0.0.0/16").send().await.unwrap();
        let vpc = vpc.vpc().unwrap().vpc_id().unwrap().to_owned();
        let mut subnets = Vec::new();
        for range in ["10.0.1.0/24", "10.0.2.0/24"] {
            let made = ec2.create_subnet().vpc_id(&vpc).cidr_block(range).send().await.unwrap();
            subnets.push(made.subnet().unwrap().subnet_id().unwrap().to_owned());
        }
        let (subnet, drill_subnet) = (subnets.remove(0), subnets.remove(0));
        Some(Self { moto, folder, ec2, ebs, subnet, drill_subnet })
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

    /// Requests that were made so far whose method and path (or action) begin so, with their bodies.
    pub fn asked(&self, what: &str) -> Vec<Asked> {
        let text = std::fs::read_to_string(self.folder.path().join("asked")).unwrap_or_default();
        let all = text.lines().map(|line| Asked::of(&serde_json::from_str(line).unwrap()));
        all.filter(|asked| asked.what.starts_with(what)).collect()
    }

    /// Blocks that were sent so far.
    pub fn puts(&self) -> usize {
        self.asked("PUT /snapshots/").len()
    }

    pub async fn snapshots(&self) -> Vec<Snapshot> {
        let found = self.ec2.describe_snapshots().owner_ids("self").send().await.unwrap();
        let ours = |snapshot: &&Snapshot| tag(snapshot.tags(), "tidegate:owner").is_some();
        found.snapshots().iter().filter(ours).cloned().collect()
    }

    /// What a snapshot holds, over those below it: the first byte of each block.
    pub async fn content(&self, snapshot: &str) -> BTreeMap<i32, u8> {
        let (mut content, mut next) = (BTreeMap::new(), Some(snapshot.to_owned()));
        let known = self.snapshots().await;
        while let Some(snapshot) = next {
            let listed = self.ebs.list_snapshot_blocks().snapshot_id(&snapshot).send().await.unwrap();
            for block in listed.blocks() {
                let (at, token) = (block.block_index().unwrap(), block.block_token().unwrap());
                let got = self.ebs.get_snapshot_block().snapshot_id(&snapshot).block_index(at).block_token(token);
                let bytes = got.send().await.unwrap().block_data.collect().await.unwrap().into_bytes();
                assert!(bytes.len() as u64 == BLOCK && bytes.iter().all(|byte| *byte == bytes[0]), "block {at}");
                content.entry(at).or_insert(bytes[0]);
            }
            let this = known.iter().find(|known| known.snapshot_id() == Some(&snapshot)).unwrap();
            next = tag(this.tags(), "tidegate:parent").map(str::to_owned);
        }
        content.retain(|_, byte| *byte != 0);
        content
    }

    /// Instances that have not ended.
    pub async fn instances(&self) -> Vec<Instance> {
        let found = self.ec2.describe_instances().send().await.unwrap();
        let all = found.reservations().iter().flat_map(|reservation| reservation.instances());
        let lives = |instance: &&Instance| state(instance) != "terminated";
        all.filter(lives).cloned().collect()
    }

    /// Images of machines.
    pub async fn images(&self) -> usize {
        let found = self.ec2.describe_images().owners("self").send().await.unwrap();
        found.images().iter().filter(|image| image.name().is_some_and(|name| name.starts_with("tidegate-"))).count()
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
        let of_ec2 = String::from_utf8_lossy(&body).split('&').find_map(|part| part.strip_prefix("Action=").map(str::to_owned));
        let what = of_ec2.unwrap_or_else(|| format!("{} /{path}", entry["method"].as_str().unwrap()));
        let headers = entry["headers"].as_object().unwrap().iter();
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.as_str().unwrap().to_owned()));
        Self { what, headers: headers.collect(), body }
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

pub fn tag<'t>(tags: &'t [Tag], key: &str) -> Option<&'t str> {
    tags.iter().find(|tag| tag.key() == Some(key)).and_then(Tag::value)
}

pub fn state(instance: &Instance) -> &str {
    instance.state().and_then(|state| state.name()).map_or("", |name| name.as_str())
}

/// A machine in a folder, as one process after the other has it.
pub struct Site {
    pub machine: Machine,
    pub folder: PathBuf,
    disk: Disk,
}

impl Site {
    pub fn new(machine: Machine, folder: &Path, disk: &Disk) -> Self {
        let folder = folder.join(machine.name.as_str());
        Self { machine, folder, disk: disk.clone() }
    }

    pub fn provider(&self) -> Ec2Provider {
        Ec2Provider::new(&self.machine)
    }

    pub fn spec(&self, copies: Vec<String>) -> MachineSpec {
        let disk = MachineDisk { host: "none".into(), port: 0, export: "disk".into(), read_only: false };
        let (name, folder) = (self.machine.name.to_string(), self.folder.clone());
        MachineSpec { name, memory_bytes: 1 << 30, cpus: 1, disks: vec![disk], copies, folder }
    }

    pub fn known(&self) -> Running {
        let name = self.machine.name.to_string();
        Running { id: name.clone(), name, folder: self.folder.clone(), console: None }
    }

    pub async fn prepare(&self) -> Result<Vec<String>, ProviderError> {
        self.provider().prepare(&self.spec(Vec::new()), &self.disk, &JobHandle::new()).await
    }

    pub async fn start(&self) -> Result<Running, ProviderError> {
        let copies = self.prepare().await?;
        self.provider().start(&self.spec(copies)).await
    }
}
