//! Ceph's object gateway beside Tidegate: a monitor, a storage daemon on a sparse file, and `radosgw`.
//!
//! What Debian installs, run by hand and without a service manager: one copy of everything, and the
//! authentication among the daemons that they have by default. It takes a quarter of a minute to start.
//!
//! Ceph is used as programs only: nothing here is taken from its sources.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use tidegate_benches::{Outcome, find_program, free_address};

use crate::sign::{ACCESS_KEY, SECRET_KEY};
use crate::store::{Kind, Process, Store, done};

const PROGRAMS: [&str; 7] =
    ["ceph", "ceph-authtool", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin"];
/// How large the sparse file may become, in bytes.
const DEVICE_BYTES: u64 = 64 << 30;
/// Placement groups of each pool: a storage daemon works on one operation at a time in each.
const PLACEMENT_GROUPS: usize = 16;
/// Who the daemons are, and what each may do.
const CAPABILITIES: [(&str, &[&str]); 4] = [
    ("mon.", &["mon", "allow *"]),
    ("osd.0", &["mon", "allow profile osd", "osd", "allow *"]),
    ("client.rgw", &["mon", "allow *", "osd", "allow *"]),
    ("client.admin", &["mon", "allow *", "osd", "allow *"]),
];

impl Store {
    /// See the head of this module.
    pub(crate) fn rgw(folder: &Path) -> Outcome<Self> {
        if PROGRAMS.into_iter().any(|name| find_program(name).is_none()) {
            return Err("not installed (Debian: radosgw ceph-mon ceph-osd ceph-mgr ceph-common)".into());
        }
        let cluster = Cluster { folder: folder.to_owned() };
        let (address, monitor, identity) = (free_address()?, free_address()?, uuid()?);
        fs::write(folder.join("ceph.conf"), cluster.settings(address, monitor, &identity))?;
        for name in ["mon", "osd"] {
            fs::create_dir_all(folder.join(name))?;
        }
        cluster.make_keys()?;
        let mon = cluster.start_monitor(monitor, &identity)?;
        let osd = cluster.start_storage()?;
        let mut rgw = cluster.start(&["radosgw", "-f", "-n", "client.rgw"])?;
        rgw.wait_for(address)?;
        let user = ["radosgw-admin", "-n", "client.rgw", "user", "create", "--uid=bench"];
        let keys = [format!("--access-key={ACCESS_KEY}"), format!("--secret={SECRET_KEY}")];
        done(cluster.command(&user).arg("--display-name=bench").args(keys))?;
        let setup = format!(
            "Debian's, one monitor, one storage daemon with BlueStore on a sparse file of the same disk, one copy, \
             {PLACEMENT_GROUPS} placement groups a pool, cephx, tcp_nodelay, else its defaults"
        );
        Ok(Self::new(Kind::Rgw, address, setup, vec![rgw, osd, mon]))
    }
}

/// A cluster in a folder.
struct Cluster {
    folder: PathBuf,
}

impl Cluster {
    fn settings(&self, address: SocketAddr, monitor: SocketAddr, identity: &str) -> String {
        let place = self.folder.display();
        format!(
            "[global]\nfsid = {identity}\nmon_host = v2:{monitor}/0\nmon_initial_members = a\n\
             ms_bind_msgr1 = false\npublic_addr = 127.0.0.1\ncluster_addr = 127.0.0.1\n\
             keyring = {place}/keyring\nrun_dir = {place}\nadmin_socket = {place}/$name.asok\n\
             pid_file = {place}/$name.pid\nlog_file = {place}/$name.log\ncrash_dir = {place}\n\
             mon_data = {place}/mon\nosd_data = {place}/osd\n\
             osd_objectstore = bluestore\nbluestore_block_size = {DEVICE_BYTES}\n\
             osd_pool_default_size = 1\nosd_pool_default_min_size = 1\nmon_allow_pool_size_one = true\n\
             osd_pool_default_pg_num = {PLACEMENT_GROUPS}\nosd_pool_default_pgp_num = {PLACEMENT_GROUPS}\n\
             osd_pool_default_pg_autoscale_mode = off\nmon_max_pg_per_osd = 2000\n\
             osd_crush_chooseleaf_type = 0\nmon_data_avail_warn = 1\nmon_data_avail_crit = 1\n\
             osd_class_default_list = *\nosd_class_load_list = *\n\
             [client.rgw]\nrgw_frontends = beast endpoint={address} tcp_nodelay=1\n"
        )
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// A command that finds this cluster.
    fn command(&self, words: &[&str]) -> Command {
        let (name, arguments) = words.split_first().expect("a command has a name");
        let mut command = Command::new(find_program(name).unwrap_or_else(|| name.into()));
        command.args(arguments).env("CEPH_CONF", self.folder.join("ceph.conf"));
        command
    }

    fn start(&self, words: &[&str]) -> Outcome<Process> {
        Process::start(&mut self.command(words), &self.folder.join(format!("{}.output", words[0])))
    }

    fn make_keys(&self) -> Outcome<()> {
        let keys = self.path("keyring");
        for (number, (name, allowed)) in CAPABILITIES.iter().enumerate() {
            let mut command = self.command(&["ceph-authtool", &keys, "--gen-key", "-n", name]);
            if number == 0 {
                command.arg("--create-keyring");
            }
            for what in allowed.chunks(2) {
                command.arg("--cap").args(what);
            }
            done(&mut command)?;
        }
        Ok(())
    }

    fn start_monitor(&self, address: SocketAddr, identity: &str) -> Outcome<Process> {
        let (map, keys) = (self.path("monmap"), self.path("keyring"));
        let place = format!("[v2:{address}]");
        done(&mut self.command(&[
            "monmaptool",
            "--create",
            "--fsid",
            identity,
            "--addv",
            "a",
            &place,
            &map,
        ]))?;
        let make = ["ceph-mon", "-i", "a", "--mkfs", "--monmap", &map, "--keyring", &keys];
        done(&mut self.command(&make))?;
        let mut monitor = self.start(&["ceph-mon", "-i", "a", "-f"])?;
        monitor.wait_for(address)?;
        Ok(monitor)
    }

    fn start_storage(&self) -> Outcome<Process> {
        let identity = uuid()?;
        done(&mut self.command(&["ceph", "osd", "new", &identity]))?;
        done(&mut self.command(&["ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", &identity]))?;
        self.start(&["ceph-osd", "-i", "0", "-f"])
    }
}

/// A new one, of the kernel's.
fn uuid() -> Outcome<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/uuid")?.trim().to_owned())
}
