//! The C compiler of this machine, put into a guest: the driver, what it starts, and of headers and libraries
//! those that a given program needs.

use std::path::{Component, Path, PathBuf};
use std::process::Command;

use tidegate_integration::guest::Initramfs;

use super::output;

/// Programs that are found by their names.
const COMMANDS: &[&str] = &["cc", "as", "ld", "make"];
/// Programs of the driver's own.
const STAGES: &[&str] = &["cc1", "collect2"];

/// Puts everything there that builds `source`.
pub(crate) fn add(initramfs: &mut Initramfs, source: &Path) {
    for name in COMMANDS {
        initramfs.add_installed(name);
    }
    for name in STAGES {
        let path = output(Command::new("cc").arg(format!("-print-prog-name={name}")));
        initramfs.add_program(Path::new(path.trim()), path.trim());
    }
    // The driver insists on it.
    let plugin = output(Command::new("cc").arg("-print-file-name=liblto_plugin.so"));
    if Path::new(plugin.trim()).is_absolute() {
        initramfs.add_program(Path::new(plugin.trim()), plugin.trim());
    }
    let headers = output(Command::new("cc").arg("-M").arg(source));
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("program");
    let linked = output(Command::new("cc").arg("-Wl,--trace").arg("-o").arg(program).arg(source));
    for path in headers.split_whitespace().chain(linked.lines()).map(Path::new) {
        // Names of targets stand there too, and an object that is gone already.
        if path.is_absolute() && path != source && path.is_file() {
            let path = normal(path);
            let content = std::fs::read(&path).expect("what a compiler reads can be read");
            initramfs.add_file(&path.to_string_lossy(), &content);
        }
    }
}

/// A path without `..`: the folders that it passes through need not be there then.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                normal.pop();
            }
            Component::CurDir => {}
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => normal.push(component),
        }
    }
    normal
}
