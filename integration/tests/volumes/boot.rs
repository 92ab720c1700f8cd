//! A machine boots from a volume that exists only in the repository, long before the volume is here; and the next time
//! what it read is fetched first.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tidegate_integration::gateway::{Gateway, SHARE, free_address};
use tidegate_integration::guest::Parts;
use tidegate_integration::skip::skip;

use crate::image::{self, LOGIN, PAGE, TOOLS};
use crate::{VOLUME, have, output, tables};

/// How long an emulated machine may take to boot.
const BOOT_MAX: Duration = Duration::from_mins(8);
/// The rate of the link to the repository, as that of a site far away.
const LINK: &str = "download_rate = \"24MiB/s\"";

/// What a boot took.
#[derive(Debug)]
struct Boot {
    took: Duration,
    /// Bytes that came from the repository before the login, and of those, those that somebody waited for.
    fetched: u64,
    waited_for: u64,
}

impl Boot {
    fn said(&self, kept: u64) -> String {
        let Self { took, fetched, waited_for } = self;
        format!(
            "login after {took:?}; {fetched} of {kept} bytes fetched by then, {waited_for} of them waited for"
        )
    }
}

/// A site: an empty disk, the repository's address and its key.
struct Site {
    folder: TempDir,
    gateway: Gateway,
    /// Where the page of the machine is.
    page: SocketAddr,
}

impl Site {
    fn attach(repository: &Path, key: &Path) -> Self {
        let (folder, page, nbd) = (tempfile::tempdir().expect("a folder"), free_address(), free_address());
        let target = format!("address = \"file://{}\"\n{LINK}", repository.display());
        let mut gateway = Gateway::configure_on(folder.path(), &target, key);
        let network = format!("user,id=network,hostfwd=tcp:{page}-:80");
        let machine = format!(
            "\n[[machine]]\nname = \"web\"\nprovider = \"qemu\"\nvolumes = [\"{VOLUME}\"]\nmemory = \"256MiB\"\n\
             arguments = [\"-accel\", \"tcg,thread=multi\", \"-cpu\", \"max\", \"-no-reboot\", \"-netdev\", \"{network}\", \
             \"-device\", \"virtio-net-pci,netdev=network,romfile=\"]\n"
        );
        let settings = fs::read_to_string(gateway.settings()).expect("it was written");
        fs::write(gateway.settings(), settings + &tables(nbd, None) + &machine).expect("a writable folder");
        gateway.run(&["attach", SHARE]);
        // What is fetched is to be what the machine asks for.
        let settings = fs::read_to_string(gateway.settings()).expect("it was written");
        let unwarmed = settings.replace("[[share]]\n", "[[share]]\nwarm = \"none\"\n");
        fs::write(gateway.settings(), unwarmed).expect("a writable folder");
        gateway.start();
        Self { folder, gateway, page }
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.gateway.run(arguments)).expect("JSON")
    }

    /// Bytes from the repository since the start: those that somebody waited for, and the others.
    fn moved(&self) -> (u64, u64) {
        let status = self.json(&["status"]);
        let down = &status["targets"][0]["link"]["down"];
        let bytes = |class: &str| down[class].as_u64().expect("a number");
        (bytes("client_bytes"), bytes("replication_bytes") + bytes("housekeeping_bytes"))
    }

    /// Starts the machine and waits for its login and its page.
    fn boot(&self, options: &[&str]) -> Boot {
        let before = self.moved();
        let start = Instant::now();
        let started = self.json(&[&["machine", "start", "web"][..], options].concat());
        assert_eq!(started["state"], "running", "{started}");
        let console = started["running"]["console"].as_str().expect("it has a console").to_owned();
        let said = || fs::read_to_string(&console).unwrap_or_default();
        while !said().contains(LOGIN) {
            assert!(start.elapsed() < BOOT_MAX, "no login; the console:\n{}\n{}", said(), self.gateway.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        let took = start.elapsed();
        let after = self.moved();
        assert!(page(self.page).contains(PAGE), "the page of the machine");
        let waited_for = after.0 - before.0;
        Boot { took, fetched: waited_for + after.1 - before.1, waited_for }
    }

    fn stop(mut self) {
        assert!(self.gateway.stop().success(), "it stops well:\n{}", self.gateway.log());
        drop(self.folder);
    }
}

fn page(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).expect("the machine answers");
    stream.set_read_timeout(Some(Duration::from_mins(1))).expect("a socket");
    stream.write_all(b"GET /index.html HTTP/1.0\r\n\r\n").expect("the machine listens");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the machine answers");
    answer
}

#[test]
fn a_machine_boots_from_what_exists_only_in_the_repository() {
    let parts = match Parts::find() {
        Ok(parts) => parts,
        Err(reason) => return skip("boot", &reason),
    };
    if !have("boot", &TOOLS) {
        return;
    }
    let (folder, nbd) = (tempfile::tempdir().expect("a folder"), free_address());
    let Some(disk) = image::make(&parts, folder.path()) else { return };
    let size = format!("{}MiB", image::DISK_BYTES >> 20);
    let mut home = Gateway::create_with(folder.path(), &tables(nbd, Some(&size)));
    home.start();
    let url = format!("nbd://{nbd}/{VOLUME}");
    output(
        "qemu-img",
        &["convert", "-n", "-W", "-f", "raw", "-O", "raw", disk.to_str().expect("UTF-8"), &url],
    );
    home.commit();
    let status: Value = serde_json::from_str(&home.run(&["status"])).expect("JSON");
    let kept = status["shares"][0]["bytes"].as_u64().expect("a number");
    assert!(home.stop().success(), "it stops well:\n{}", home.log());
    // From here on it exists only in the repository.
    fs::remove_dir_all(home.data()).expect("the gateway has stopped");
    fs::remove_file(disk).expect("it was made");

    let first = Site::attach(&home.repository(), &home.key());
    let cold = first.boot(&["--record"]);
    println!("first boot: {}", cold.said(kept));
    assert!(cold.fetched * 10 < kept, "{} of {kept} bytes were fetched before the login", cold.fetched);
    first.gateway.run(&["machine", "stop", "web", "--at-once"]);
    let recorded = first.json(&["volume", "boot-order", VOLUME]);
    assert!(recorded["runs"].as_array().is_some_and(|runs| !runs.is_empty()), "{recorded}");
    first.gateway.commit();
    first.stop();

    let second = Site::attach(&home.repository(), &home.key());
    let warm = second.boot(&["--as", "web-drill", "--scratch"]);
    println!("second boot, what was recorded fetched first: {}", warm.said(kept));
    assert!(warm.fetched * 10 < kept, "{} of {kept} bytes were fetched before the login", warm.fetched);
    assert!(warm.waited_for < cold.waited_for, "less of it is waited for: {warm:?}, {cold:?}");
    let volumes = second.json(&["volume", "list"]);
    assert_eq!(volumes.as_array().map(Vec::len), Some(2), "{volumes}");
    second.gateway.run(&["machine", "stop", "web-drill", "--at-once"]);
    let volumes = second.json(&["volume", "list"]);
    assert_eq!(volumes.as_array().map(Vec::len), Some(1), "the drill leaves nothing: {volumes}");
    // A block has 4,096 bytes.
    let dirty = second.json(&["status"])["shares"][0]["dirty_bytes"].as_u64().expect("a number");
    assert!(dirty < 4096, "and nothing of it came into the share: {dirty} bytes");
    second.stop();
}
