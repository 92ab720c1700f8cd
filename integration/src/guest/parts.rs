//! What a guest is made of: a kernel with modules, QEMU, busybox. `packaging/setup.sh` gets them.
//!
//! Where one is missing, the reason is told instead, for a test to pass on as it says that it is skipped.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// The one kind of machine that is emulated.
const QEMU: &str = "qemu-system-x86_64";

/// The parts, all there.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The folder with `vmlinuz` and `modules`.
    kernel: PathBuf,
    /// The emulator.
    pub qemu: PathBuf,
    /// The one program of the guest's own: a shell and all else.
    pub busybox: PathBuf,
}

impl Parts {
    /// The parts, or why there is no guest on this machine.
    pub fn find() -> Result<Self, String> {
        if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
            return Err("guests are made for x86-64, from programs of this machine".to_owned());
        }
        let kernel = cache().join("guest").join("kernel");
        if !kernel.join("vmlinuz").is_file() {
            let place = kernel.display();
            return Err(format!("no kernel in {place}: packaging/setup.sh gets one, where apt-get can"));
        }
        Ok(Self { kernel, qemu: program(QEMU)?, busybox: program("busybox")? })
    }

    /// The kernel.
    pub fn kernel(&self) -> PathBuf {
        self.kernel.join("vmlinuz")
    }

    /// The module of a name, with those that it needs before it; nothing where it is built into the kernel.
    ///
    /// Panics on a name that the kernel does not have.
    pub fn modules(&self, name: &str) -> Vec<PathBuf> {
        let mut files = Vec::new();
        files_below(&self.kernel.join("modules"), &mut files);
        let builtin =
            files.iter().find(|path| path.ends_with("modules.builtin")).expect("a list of built-ins");
        let builtin = fs::read_to_string(builtin).expect("the list can be read");
        let builtin: Vec<_> = builtin.lines().map(|line| module_name(Path::new(line))).collect();
        let mut ordered = Vec::new();
        add_module(name, &files, &builtin, &mut ordered);
        ordered
    }
}

/// Where a program of the machine is.
pub fn program(name: &str) -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Not every PATH has the folders of programs for root.
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into(), "/bin".into()]);
    let found = folders.map(|folder| folder.join(name)).find(|path| path.is_file());
    found.ok_or_else(|| format!("there is no {name} here: packaging/setup.sh installs it"))
}

/// A program of the crate registry that was built for guests: where it is.
pub fn built(name: &str, version: &str) -> Result<PathBuf, String> {
    let path = cache().join("guest").join(format!("{name}-{version}")).join("bin").join(name);
    if path.is_file() {
        return Ok(path);
    }
    let place = path.display();
    Err(format!("there is no {place}: packaging/setup.sh builds it, where the crate registry can be reached"))
}

/// Where the project keeps what is expensive to get.
fn cache() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|value: &OsString| !value.is_empty());
    let home = || PathBuf::from(set("HOME").unwrap_or_default()).join(".cache");
    set("XDG_CACHE_HOME").map_or_else(home, PathBuf::from).join("tidegate")
}

fn files_below(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a readable folder") {
        let entry = entry.expect("a readable entry");
        if entry.file_type().expect("a readable entry").is_dir() {
            files_below(&entry.path(), files);
        } else {
            files.push(entry.path());
        }
    }
}

/// The kernel takes `-` in the names of files for `_`.
fn module_name(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().replace('-', "_")
}

fn add_module(name: &str, files: &[PathBuf], builtin: &[String], ordered: &mut Vec<PathBuf>) {
    let is_module = |path: &&PathBuf| path.extension().is_some_and(|found| found == "ko");
    if builtin.iter().any(|found| found == name) || ordered.iter().any(|path| module_name(path) == name) {
        return;
    }
    let path = files.iter().filter(is_module).find(|path| module_name(path) == name);
    let path = path.unwrap_or_else(|| panic!("the kernel has no module {name}"));
    let text = fs::read(path).expect("a readable module");
    for needed in dependencies(&text) {
        add_module(&needed.replace('-', "_"), files, builtin, ordered);
    }
    ordered.push(path.clone());
}

/// What a module says that it needs.
fn dependencies(module: &[u8]) -> Vec<String> {
    const LABEL: &[u8] = b"\0depends=";
    let Some(at) = module.windows(LABEL.len()).position(|window| window == LABEL) else { return Vec::new() };
    let names = module[at + LABEL.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    let names = String::from_utf8_lossy(names);
    names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}
