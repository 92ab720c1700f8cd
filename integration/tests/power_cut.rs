//! Goal: a cut of the power at any instant loses nothing that was acknowledged, and needs no repair. A
//! killed process leaves its writes to the kernel; here the kernel goes too, and the disk forgets.
//!
//! Method: the gateway runs in a guest, with its data folder and repository on a disk that keeps only what
//! was flushed, and of the rest what chance keeps. Clients on this machine change files over NFS; the guest is
//! killed at a random instant, boots again over the same disk, and every file is compared with what was
//! acknowledged. Some boots are cut too, so recovery is recovered from. In half of its lives the kernel of the
//! guest writes nothing back by itself, so what nobody synced is lost; in the others it does so at once, so
//! the disk forgets parts of it, in whatever order.
//!
//! Counter-proof: a gateway whose syncs do nothing (strace answers them instead of the kernel) must be seen to
//! lose. `TIDEGATE_POWER_CUTS` says how often (100 in `make nightly`), `TIDEGATE_SEED` repeats a run. Where
//! there is no QEMU or no kernel for the guest, the tests say so and pass.

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tidegate_integration::chance::Chance;
use tidegate_integration::gateway::{self, SHARE};
use tidegate_integration::guest::{self, Disk, DiskServer, Forgotten, Guest, Initramfs, Machine, Parts};
use tidegate_integration::load::Load;
use tidegate_integration::skip::skip;

/// Cuts unless the environment says otherwise.
const CUTS: u64 = 5;
/// Lives of a gateway whose syncs do nothing, at most: the first that lasts long enough to acknowledge loses.
const COUNTER_PROOFS_MAX: u64 = 5;
/// The longest that a gateway lives under load, in milliseconds: several commits on the slow guest.
const LIFE_MAX_MS: u64 = 6000;
/// The longest that it lives after its disk was mounted, where its start is cut, in milliseconds.
const START_MAX_MS: u64 = 2000;
/// One of so many cuts is followed by one during the next start.
const CUT_STARTS: u64 = 3;

/// The disk, in bytes: sparse.
const DISK_BYTES: u64 = 8 << 30;
/// Memory of the guest, in MiB.
const MEMORY_MIB: u32 = 768;
/// Longer than a boot takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(5);

/// The port of NFS in the guest.
const PORT: u16 = 2049;
/// The word for the script that makes syncs do nothing.
const IGNORED: &str = "syncs=ignored";
/// The word that makes the kernel write back at once.
const EAGER: &str = "writeback=eager";
/// What the script prints when the disk is there.
const MOUNTED: &str = "guest: the disk is mounted";
/// What it prints when the gateway ended.
const ENDED: &str = "guest: the script ended";
/// What the gateway logs when it serves.
const SERVING: &str = "serving NFS";

/// The kernel writes back by age at once or never, and not by amount; ext4 does not end its transactions by
/// age, and does not guess that a rename wants the data synced.
const SCRIPT: &str = r#"
cd /proc/sys/vm
if grep -q writeback=eager /proc/cmdline; then
    echo 5 >dirty_writeback_centisecs
    echo 5 >dirty_expire_centisecs
else
    echo 0 >dirty_writeback_centisecs
    echo 1000000 >dirty_expire_centisecs
fi
echo 90 >dirty_ratio
echo 89 >dirty_background_ratio
mkdir /disk
mount -t ext4 -o noatime,errors=panic,commit=900,noauto_da_alloc,noinit_itable /dev/vda /disk || exit
echo "guest: the disk is mounted"
gateway="tidegate --settings /tidegate.toml"
if [ ! -e /disk/made ]; then
    $gateway init && sync && touch /disk/made && sync || exit
fi
syncs=fdatasync,fsync,syncfs,sync,sync_file_range,msync
if grep -q syncs=ignored /proc/cmdline; then
    gateway="strace -f -qq --seccomp-bpf -o /dev/null -e trace=$syncs -e inject=$syncs:retval=0 $gateway"
fi
$gateway serve
"#;

fn settings() -> String {
    format!(
        "[gateway]\ndata = \"/disk/data\"\nsocket = \"/run/admin.sock\"\nmemory = \"128MiB\"\n\n\
         [repository]\nkey = {{ file = \"/disk/repository.key\" }}\n\n\
         [[target]]\nname = \"local\"\naddress = \"file:///disk/repository\"\n\n\
         [cache]\ndisk = \"64MiB\"\ndirty = \"128MiB\"\n\n\
         [nfs]\nlisten = [\"0.0.0.0:{PORT}\"]\n\n\
         [[share]]\nname = \"{SHARE}\"\nrpo = \"1s\"\nsquash = \"none\"\nclients = [\"10.0.2.0/24\"]\n"
    )
}

/// Whether the disk hears of the gateway's syncs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Syncs {
    Done,
    Ignored,
}

/// A machine that is off, and what it is made of.
struct House {
    parts: Parts,
    folder: TempDir,
}

/// The machine while it is on.
struct Life {
    guest: Guest,
    disk: DiskServer,
    address: SocketAddr,
    since: Instant,
}

impl House {
    /// A new one, with an empty disk, or why there can be none here.
    fn build() -> Result<Self, String> {
        let parts = Parts::find()?;
        let (tracer, formatter) = (guest::program("strace")?, guest::program("mkfs.ext4")?);
        let folder = tempfile::tempdir().expect("a folder");
        let house = Self { parts, folder };
        let image = File::create_new(house.path("disk")).expect("a new file");
        image.set_len(DISK_BYTES).expect("a sparse file may be long");
        run(Command::new(formatter).arg("-q").arg(house.path("disk")));
        // What is kept for backtraces is most of the program.
        run(Command::new("strip").arg("-o").arg(house.path("tidegate")).arg(gateway::program()));
        let modules = ["virtio_pci", "virtio_blk", "virtio_net", "ext4"];
        let mut initramfs = Initramfs::new(&house.parts, &modules, SCRIPT);
        initramfs.add_program(&house.path("tidegate"), "/bin/tidegate");
        initramfs.add_program(&tracer, "/usr/bin/strace");
        initramfs.add_file("/tidegate.toml", settings().as_bytes());
        initramfs.write(&house.path("initramfs")).expect("a file");
        Ok(house)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Turns the machine on.
    fn start(&self, syncs: Syncs, chance: &mut Chance) -> Life {
        let address = gateway::free_address();
        let mut words = String::new();
        if syncs == Syncs::Ignored {
            words += IGNORED;
        }
        if chance.below(2) == 0 {
            words = format!("{words} {EAGER}");
        }
        let machine = Machine {
            memory_mib: MEMORY_MIB,
            initramfs: self.path("initramfs"),
            words,
            forwards: vec![(address, PORT)],
        };
        let disk = Disk::open(&self.path("disk")).expect("the disk is there");
        let disk = DiskServer::start(disk, &self.path("disk.sock")).expect("a socket");
        let since = Instant::now();
        Life { guest: machine.start(&self.parts, Some(&disk)), disk, address, since }
    }

    /// Turns it on; the gateway serves, or ended and tells why.
    fn serve(&self, syncs: Syncs, chance: &mut Chance) -> Result<Life, String> {
        let mut life = self.start(syncs, chance);
        life.guest.wait_for(MOUNTED, PATIENCE).expect("it boots, and its file system is whole");
        if let Err(reason) = life.guest.wait_for(SERVING, PATIENCE) {
            assert!(reason.contains(ENDED), "the guest itself failed: {reason}");
            return Err(reason);
        }
        println!("it serves after {:.1} s", life.since.elapsed().as_secs_f32());
        Ok(life)
    }
}

impl Life {
    /// Cuts the power after a while.
    fn cut_after(mut self, while_it_lives: Duration, chance: &mut Chance) {
        std::thread::sleep(while_it_lives);
        self.guest.cut_power();
        let mut disk = self.disk.join();
        let flushes = disk.flushes();
        let Forgotten { kept, lost } = disk.forget(chance).expect("the disk can be written");
        println!(
            "cut {} ms later, {flushes} flushes after the start; the disk kept {kept} pieces that were \
             not flushed, and lost {lost}",
            while_it_lives.as_millis()
        );
    }
}

fn run(command: &mut Command) {
    let status = command.status().expect("the program runs");
    assert!(status.success(), "{command:?} failed with {status}");
}

fn cuts() -> u64 {
    let given = std::env::var("TIDEGATE_POWER_CUTS").ok();
    given.map_or(CUTS, |text| text.parse().expect("TIDEGATE_POWER_CUTS is a number"))
}

/// Changes files until the power is cut.
async fn live_and_be_cut(life: Life, load: &mut Load, chance: &mut Chance) {
    let (address, while_it_lives) = (life.address, Duration::from_millis(chance.below(LIFE_MAX_MS)));
    let mut chance_of_disk = Chance::new(chance.next());
    let death = tokio::task::spawn_blocking(move || life.cut_after(while_it_lives, &mut chance_of_disk));
    load.run(address, death).await.expect("a cut does not panic");
    println!("{} calls acknowledged so far", load.acknowledged());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_by_a_cut_of_the_power_at_any_instant() {
    let mut chance = Chance::announced("power_cut");
    let house = match House::build() {
        Ok(house) => house,
        Err(reason) => return skip("power_cut", &reason),
    };
    let mut load = Load::new(&mut chance);
    for cut in 0..cuts() {
        let life =
            house.serve(Syncs::Done, &mut chance).unwrap_or_else(|reason| panic!("cut {cut}: {reason}"));
        load.check(life.address).await;
        live_and_be_cut(life, &mut load, &mut chance).await;
        if chance.below(CUT_STARTS) == 0 {
            let mut life = house.start(Syncs::Done, &mut chance);
            life.guest.wait_for(MOUNTED, PATIENCE).expect("it boots, and its file system is whole");
            life.cut_after(Duration::from_millis(chance.below(START_MAX_MS)), &mut chance);
        }
    }
    let life =
        house.serve(Syncs::Done, &mut chance).unwrap_or_else(|reason| panic!("after the last cut: {reason}"));
    load.check(life.address).await;
    assert!(load.acknowledged() > 0, "the load did something");
    println!("power_cut: {} acknowledged calls survived {} cuts", load.acknowledged(), cuts());
}

/// One life of a gateway whose syncs do nothing, and what is found afterwards.
async fn live_without_syncs(house: &House, load: &mut Load, chance: &mut Chance) -> Result<(), String> {
    let life = house.serve(Syncs::Ignored, chance).expect("strace changes nothing but syncs");
    load.check(life.address).await;
    live_and_be_cut(life, load, chance).await;
    let life = house.serve(Syncs::Done, chance)?;
    load.compare(life.address).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_whose_syncs_do_nothing_is_seen_to_lose_what_it_acknowledged() {
    let mut chance = Chance::announced("power_cut without syncs");
    let house = match House::build() {
        Ok(house) => house,
        Err(reason) => return skip("power_cut without syncs", &reason),
    };
    let mut load = Load::new(&mut chance);
    for _ in 0..COUNTER_PROOFS_MAX {
        if let Err(loss) = live_without_syncs(&house, &mut load, &mut chance).await {
            println!("lost, as it must be: {loss}");
            return;
        }
    }
    panic!(
        "nothing was lost in {COUNTER_PROOFS_MAX} cuts without any sync: this test would see no loss at all"
    );
}
