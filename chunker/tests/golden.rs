//! Golden vectors: what this program writes and reads does not change while the format is the same.
//!
//! Each fixture under `golden/format-1` is made again from fixed keys and bytes and compared. What Zstandard
//! makes may change with its version, so fixtures with compressed frames are compared by what they open
//! to. `TIDEGATE_WRITE_GOLDEN=1` writes fixtures that are missing; it never replaces one.

mod common;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use common::{keys, noise, pack};
use tidegate_chunker::{
    ChunkGroup, ChunkKind, ChunkParams, CompressionLevel, Compressor, Cutter, Decompressor, ObjectKind,
    PackIndex, PackOptions, PackTail, PackWriter, RepositoryId, SecretKey, UnverifiedFrame, open_object,
    open_object_with, read_plain_object, seal_object, seal_object_with, write_plain_object,
};

const SALT: [u8; 32] = [0x66; 32];
const SECRET: SecretKey = SecretKey::new([0x77; 32]);

/// A fixture: its file, how to make it, and how to check it beyond that it is made the same.
struct Fixture {
    name: &'static str,
    make: fn() -> Vec<u8>,
    /// Whether every version makes the same bytes.
    stable: bool,
    open: fn(&[u8]),
}

const FIXTURES: [Fixture; 8] = [
    Fixture { name: "cuts.txt", make: make_cuts, stable: true, open: |_| () },
    Fixture { name: "ids.txt", make: make_ids, stable: true, open: |_| () },
    Fixture {
        name: "frame-stored.hex",
        make: || make_frame(&chunks()[..1]),
        stable: true,
        open: |bytes| open_frame(bytes, 0..1),
    },
    Fixture {
        name: "frame-zstd.hex",
        make: || make_frame(&chunks()[1..]),
        stable: false,
        open: |bytes| open_frame(bytes, 1..3),
    },
    Fixture { name: "pack.hex", make: make_pack, stable: false, open: open_pack },
    Fixture { name: "object-plain.hex", make: make_plain, stable: true, open: open_plain },
    Fixture { name: "object-domain.hex", make: make_domain_object, stable: true, open: open_domain_object },
    Fixture { name: "object-secret.hex", make: make_secret_object, stable: true, open: open_secret_object },
];

#[test]
fn every_fixture_is_made_and_read_as_ever() {
    for fixture in &FIXTURES {
        let golden = read(fixture);
        if fixture.stable {
            assert_eq!((fixture.make)(), golden, "{} is made differently", fixture.name);
        }
        (fixture.open)(&golden);
        (fixture.open)(&(fixture.make)());
    }
}

#[test]
fn no_fixture_is_left_unread() {
    let listed: BTreeSet<_> = FIXTURES.iter().map(|fixture| fixture.name.to_owned()).collect();
    let present: BTreeSet<_> = fs::read_dir(folder())
        .expect("the folder of fixtures")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(present, listed);
}

fn folder() -> PathBuf {
    // As it is now: the program may have been built in another checkout that shares the target folder.
    let member = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo says it");
    Path::new(&member).join("tests/golden/format-1")
}

/// The bytes of a fixture: text as it is, hex decoded.
fn read(fixture: &Fixture) -> Vec<u8> {
    let path = folder().join(fixture.name);
    if std::env::var_os("TIDEGATE_WRITE_GOLDEN").is_some() && !path.exists() {
        fs::write(&path, to_text(fixture.name, &(fixture.make)())).expect("a writable checkout");
    }
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    if !is_hex(fixture.name) {
        return text.into_bytes();
    }
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits
        .chunks_exact(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("digits"), 16).expect("digits"))
        .collect()
}

fn is_hex(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "hex")
}

fn to_text(name: &str, bytes: &[u8]) -> String {
    if !is_hex(name) {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    bytes.chunks(32).fold(String::new(), |mut text, line| {
        for byte in line {
            write!(text, "{byte:02x}").expect("memory");
        }
        text + "\n"
    })
}

fn make_cuts() -> Vec<u8> {
    let data = [noise("cuts", 40_000), vec![0; 5000], noise("cuts", 5001)].concat();
    let mut text = String::new();
    for (min, avg, max) in [(64, 256, 1024), (256, 1024, 4096), (1024, 4096, 8192)] {
        let cutter = Cutter::content(&keys(), ChunkParams::new(min, avg, max).expect("valid"));
        write!(text, "{min} {avg} {max}:").expect("memory");
        for chunk in cutter.chunks(&data) {
            write!(text, " {}", chunk.len()).expect("memory");
        }
        text.push('\n');
    }
    text.into_bytes()
}

fn make_ids() -> Vec<u8> {
    let (keys, data) = (keys(), noise("ids", 1000));
    let mut lines = vec![
        format!("chunk of nothing {}", keys.chunk_id(b"")),
        format!("chunk {}", keys.chunk_id(&data)),
        format!("node {}", keys.node_id(&data)),
    ];
    for level in [0, 1, 255] {
        lines.push(format!("boundary {level} {:016x}", keys.boundary_hash(level, &data)));
    }
    lines.push(format!("handle check {}", RepositoryId::new(handle_check())));
    (lines.join("\n") + "\n").into_bytes()
}

/// The first bytes of a digest under the handle key: shows that the key is the same.
fn handle_check() -> [u8; 16] {
    let mut first = [0; 16];
    first.copy_from_slice(&keys().handle_key().digest(b"handle")[..16]);
    first
}

fn make_frame(chunks: &[Vec<u8>]) -> Vec<u8> {
    let keys = keys();
    let mut writer = PackWriter::create(Vec::new(), &keys, pack(), PackOptions::default()).expect("memory");
    let mut group = ChunkGroup::new(ChunkKind::Data);
    for chunk in chunks {
        group.push(keys.chunk_id(chunk), chunk).expect("small");
    }
    let slot = writer.next_slot().expect("first");
    let frame = slot.seal(&group, &mut Compressor::new(CompressionLevel::default())).expect("not empty");
    frame.as_bytes().to_vec()
}

fn open_frame(bytes: &[u8], range: std::ops::Range<usize>) {
    let frame = UnverifiedFrame::new(bytes.to_vec().into()).expect("whole");
    let open = frame.open(&keys(), Some(pack()), &mut Decompressor::new()).expect("ours");
    assert_eq!(open.plaintext_bytes(), chunks()[range].concat().len());
}

fn make_pack() -> Vec<u8> {
    let keys = keys();
    let mut writer = PackWriter::create(Vec::new(), &keys, pack(), PackOptions::default()).expect("memory");
    for (kind, chunk) in ChunkKind::ALL.into_iter().zip(chunks()) {
        let id = if kind == ChunkKind::Node { keys.node_id(&chunk) } else { keys.chunk_id(&chunk) };
        writer.push(kind, id, &chunk).expect("small");
    }
    writer.finish().expect("memory").0
}

fn open_pack(bytes: &[u8]) {
    let keys = keys();
    let PackTail::Index(index) = PackIndex::from_tail(&keys, pack(), bytes).expect("ours") else {
        panic!("all of the pack is here");
    };
    let kinds: Vec<_> = index.chunks().map(|placed| placed.kind).collect();
    assert_eq!(kinds, ChunkKind::ALL);
    for (placed, chunk) in index.chunks().zip(chunks()) {
        let start = placed.location.frame_offset as usize;
        let frame = bytes[start..start + placed.location.frame_bytes as usize].to_vec();
        let frame = UnverifiedFrame::new(frame.into()).expect("whole");
        let open = frame.open(&keys, Some(pack()), &mut Decompressor::new()).expect("ours");
        assert_eq!(&open.piece(&placed.location).expect("inside")[..], &chunk[..]);
        if placed.kind != ChunkKind::Node {
            open.chunk(&keys, &placed.location, placed.id).expect("verified");
        }
    }
}

fn make_plain() -> Vec<u8> {
    write_plain_object(ObjectKind::Config, "config", b"payload")
}

fn open_plain(bytes: &[u8]) {
    assert_eq!(read_plain_object(ObjectKind::Config, "config", bytes).expect("whole"), b"payload");
}

fn make_domain_object() -> Vec<u8> {
    seal_object(&keys(), ObjectKind::Head, "heads/a/b", SALT, b"payload").expect("small")
}

fn open_domain_object(bytes: &[u8]) {
    assert_eq!(open_object(&keys(), ObjectKind::Head, "heads/a/b", bytes).expect("ours"), b"payload");
}

fn make_secret_object() -> Vec<u8> {
    let repository = RepositoryId::new(common::REPOSITORY);
    seal_object_with(&SECRET, repository, ObjectKind::KeySlot, "keys/a", SALT, b"payload").expect("small")
}

fn open_secret_object(bytes: &[u8]) {
    let repository = RepositoryId::new(common::REPOSITORY);
    let opened = open_object_with(&SECRET, repository, ObjectKind::KeySlot, "keys/a", bytes);
    assert_eq!(opened.expect("ours"), b"payload");
}

/// The chunks of the pack fixture: one that does not compress and two that do.
fn chunks() -> [Vec<u8>; 3] {
    [noise("a chunk", 100), b"The tide turns twice a day. ".repeat(20), vec![0x7e; 300]]
}
