//! QEMU's tools and libnbd's find a volume to be a disk.

use std::fs;
use std::os::unix::fs::MetadataExt;

use serde_json::Value;
use tidegate_integration::gateway::{Gateway, free_address};

use crate::{VOLUME, have, output, tables};

/// Ranges that are data, by what `qemu-img map` says.
fn data_of(url: &str) -> Vec<(u64, u64)> {
    let map: Value =
        serde_json::from_str(&output("qemu-img", &["map", "-f", "raw", "--output=json", url])).expect("JSON");
    let ranges = map.as_array().expect("a list").iter().filter(|range| range["data"] == true);
    ranges
        .map(|range| (range["start"].as_u64().expect("it"), range["length"].as_u64().expect("it")))
        .collect()
}

#[test]
fn qemu_reads_writes_discards_and_sees_holes() {
    if !have("qemu-io", &["qemu-img", "qemu-io"]) {
        return;
    }
    let (folder, address) = (tempfile::tempdir().expect("a folder"), free_address());
    let mut gateway = Gateway::create_with(folder.path(), &tables(address, Some("64MiB")));
    gateway.start();
    let url = format!("nbd://{address}/{VOLUME}");
    assert_eq!(data_of(&url), []);
    let script = [
        "write -P 0x5a 1M 2M",
        "write -f -P 0xa5 8M 64k",
        "discard 2M 512k",
        "write -z -u 10M 1M",
        "write -z 20M 4k",
        "flush",
        "read -P 0x5a 1M 1M",
        "read -P 0 2M 512k",
        "read -P 0x5a 2560k 512k",
        "read -P 0xa5 8M 64k",
        "read -P 0 40M 24M",
    ];
    let mut arguments = vec!["-f", "raw", "-d", "unmap"];
    arguments.extend(script.iter().flat_map(|line| ["-c", *line]));
    arguments.push(&url);
    let said = output("qemu-io", &arguments);
    assert!(!said.contains("failed"), "{said}");
    let (mib, kib) = (1 << 20, 1 << 10);
    let data = data_of(&url);
    assert_eq!(data[..3], [(mib, mib), (2560 * kib, 512 * kib), (8 * mib, 64 * kib)], "{data:?}");
    // A gateway that was killed has it all.
    gateway.kill();
    gateway.start();
    let said =
        output("qemu-io", &["-f", "raw", "-r", "-c", "read -P 0x5a 1M 1M", "-c", "read -P 0 2M 512k", &url]);
    assert!(!said.contains("failed"), "{said}");
    assert_eq!(data_of(&url), data);
    assert!(gateway.stop().success(), "it stops well:\n{}", gateway.log());
}

#[test]
fn what_is_imported_is_exported_the_same_as_raw_and_as_qcow2() {
    if !have("export", &["qemu-img"]) {
        return;
    }
    let (folder, address) = (tempfile::tempdir().expect("a folder"), free_address());
    let mut gateway = Gateway::create_with(folder.path(), &tables(address, Some("48MiB")));
    gateway.start();
    let image = folder.path().join("image");
    let mut bytes = vec![0; 48 << 20];
    let noise = tidegate_integration::chance::Chance::new(7).bytes(5 << 20);
    bytes[3 << 20..8 << 20].copy_from_slice(&noise);
    bytes[40 << 20..41 << 20].copy_from_slice(&noise[..1 << 20]);
    fs::write(&image, &bytes).expect("a writable folder");
    let (url, image) = (format!("nbd://{address}/{VOLUME}"), image.to_string_lossy().into_owned());
    output("qemu-img", &["convert", "-n", "-f", "raw", "-O", "raw", &image, &url]);
    for format in ["raw", "qcow2"] {
        let file = folder.path().join(format).to_string_lossy().into_owned();
        gateway.run(&["volume", "export", VOLUME, &file, "--format", format]);
        let said = output("qemu-img", &["compare", "-f", "raw", "-F", format, &image, &file]);
        assert!(said.contains("identical"), "{said}");
        let kept = fs::metadata(&file).expect("it is there").blocks() * 512;
        assert!(kept < 10 << 20, "{format}: {kept} bytes for 6 MiB: holes are holes");
    }
    let listed: Value = serde_json::from_str(&gateway.run(&["volume", "list"])).expect("JSON");
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "what was shown for the export is gone: {listed}");
    gateway.run(&["volume", "resize", VOLUME, "64MiB"]);
    assert!(output("qemu-img", &["info", "-f", "raw", &url]).contains("64 MiB"));
    let refused = gateway.attempt(&["volume", "resize", VOLUME, "1MiB"]);
    assert_ne!(refused.code, Some(0), "it would lose data");
    gateway.run(&["volume", "remove", VOLUME, "--yes"]);
    assert!(gateway.stop().success(), "it stops well:\n{}", gateway.log());
}

#[test]
fn libnbd_finds_what_the_specification_promises() {
    if !have("nbdinfo", &["nbdinfo", "nbdcopy"]) {
        return;
    }
    let (folder, address) = (tempfile::tempdir().expect("a folder"), free_address());
    let mut gateway = Gateway::create_with(folder.path(), &tables(address, Some("16MiB")));
    gateway.start();
    let url = format!("nbd://{address}/{VOLUME}");
    let info: Value = serde_json::from_str(&output("nbdinfo", &["--json", &url])).expect("JSON");
    let export = &info["exports"][0];
    assert_eq!(export["export-size"], 16 << 20, "{info}");
    for can in [
        "can_multi_conn",
        "can_flush",
        "can_fua",
        "can_trim",
        "can_zero",
        "can_fast_zero",
        "can_df",
        "can_cache",
    ] {
        assert_eq!(export[can], true, "{can}: {info}");
    }
    assert_eq!(info["structured"], true, "{info}");
    assert!(output("nbdinfo", &["--list", &format!("nbd://{address}")]).contains(VOLUME));
    let image = folder.path().join("image");
    let bytes = tidegate_integration::chance::Chance::new(8).bytes(16 << 20);
    fs::write(&image, &bytes).expect("a writable folder");
    // Four connections at once, each way.
    let (image, back) = (image.to_string_lossy().into_owned(), folder.path().join("back"));
    output("nbdcopy", &["--flush", &image, &url]);
    output("nbdcopy", &[&url, &back.to_string_lossy()]);
    assert!(fs::read(&back).expect("it is there") == bytes);
    assert!(gateway.stop().success(), "it stops well:\n{}", gateway.log());
}
