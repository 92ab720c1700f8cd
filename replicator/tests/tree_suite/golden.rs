//! Golden vectors of trees and of the map: what this program writes and reads does not change while the
//! format is the same.
//!
//! Each fixture under `golden/format-1` is made again from fixed keys and entries and compared byte for
//! byte; what a fixture holds is read back as well. `TIDEGATE_WRITE_GOLDEN=1` writes fixtures that are
//! missing; it never replaces one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tidegate_chunker::{ChunkId, DomainKeys, Location, PackId};
use tidegate_replicator::map::{
    Cookie, Device, Entry, Extent, Inode, InodeNumber, Key, Kind, MapError, ObjectChecksum, ObjectMetadata,
    ObjectRecord, ObjectRetention, PART_SIZES_ATTRIBUTE, PartRecord, RECORD_ATTRIBUTE, Source, Times,
    Timestamp, UploadRecord, VersionRecord, decode_part_sizes, encode_part_sizes,
};
use tidegate_replicator::tree::{ChunkRef, Node, NodeSource, Root, Value};

use super::support::{Bench, Map};

/// Entries of the whole tree: enough for three levels of nodes.
const ENTRIES: u64 = 40_000;
/// Entries so heavy that their weight ends nodes.
const HEAVY: Range<u64> = 20_000..22_000;

fn folder() -> PathBuf {
    // As it is now: the program may have been built in another checkout that shares the target folder.
    let member = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo says it");
    Path::new(&member).join("tests/golden/format-1")
}

/// The text of a fixture; compared with what is made now.
fn golden(name: &str, made: &str) -> String {
    let path = folder().join(name);
    if std::env::var_os("TIDEGATE_WRITE_GOLDEN").is_some() && !path.exists() {
        fs::write(&path, made).expect("a writable checkout");
    }
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(made, text, "{name} is made differently");
    text
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("memory");
        text
    })
}

fn from_hex(text: &str) -> Bytes {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("digits"), 16);
    digits.chunks_exact(2).map(|pair| byte(pair).expect("digits")).collect()
}

fn location(offset: u32) -> Location {
    Location {
        pack: PackId::new([0x55; 32]),
        frame_offset: offset,
        frame_bytes: 4096,
        chunk_offset: 128,
        chunk_bytes: 300,
    }
}

#[test]
fn no_fixture_is_left_unread() {
    let present: BTreeSet<_> = fs::read_dir(folder())
        .expect("the folder of fixtures")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    let read =
        ["leaf.hex", "map.txt", "objects.txt", "root-inner.hex", "tree.txt", "value.hex", "versions.txt"];
    assert_eq!(present, read.map(str::to_owned).into());
}

fn inode(kind: Kind) -> Inode {
    let time = |seconds, nanos| Timestamp { seconds, nanos };
    let is_directory = kind == Kind::Directory;
    Inode {
        kind,
        mode: 0o4751,
        locked: false,
        links: 3,
        uid: 1000,
        gid: 70_000,
        size: 0x0102_0304_0506,
        used: 0x0102_0304,
        device: Device { major: 0, minor: 0 },
        generation: 0x1112_1314_1516_1718,
        change: 77,
        times: Times {
            accessed: time(1_700_000_000, 1),
            modified: time(-1, 999_999_999),
            changed: time(i64::MAX, 0),
            born: time(i64::MIN, 500_000_000),
        },
        parent: InodeNumber(1),
        next_cookie: if is_directory { 9 } else { 0 },
        entries: if is_directory { 4 } else { 0 },
        create_verifier: None,
        target: Bytes::new(),
    }
}

/// One of each kind of record.
fn records() -> Vec<(&'static str, Key, Value)> {
    let file = InodeNumber(0x0a0b_0c0d);
    let name = || Bytes::from_static(b"n\xffame");
    let attributes = |inode: &Inode| (Key::Attributes(file), inode.encode());
    let by_name = Entry { inode: file, kind: Kind::Regular, cookie: 3 };
    let by_cookie = Cookie { inode: file, kind: Kind::Regular, name: name() };
    let chunk = ChunkRef { id: ChunkId::new([0xc1; 32]), at: Some(location(48)) };
    let source = Source::Chunk { chunk, chunk_bytes: 300, offset: 7 };
    let extent = Extent { start: 1 << 32, end: (1 << 32) + 200, source };
    let exclusive = Inode { create_verifier: Some(*b"verifier"), ..inode(Kind::Regular) };
    let link = Inode { target: Bytes::from_static(b"../\xfe"), ..inode(Kind::Symlink) };
    let device = Inode { device: Device { major: 8, minor: 1 << 20 }, ..inode(Kind::Block) };
    let kinds = [
        ("attributes of a file", inode(Kind::Regular)),
        ("attributes of a file made exclusively", exclusive),
        ("attributes of a directory", inode(Kind::Directory)),
        ("attributes of a symbolic link", link),
        ("attributes of a block device", device),
        ("attributes of a character device", inode(Kind::Character)),
        ("attributes of a socket", inode(Kind::Socket)),
        ("attributes of a named pipe", inode(Kind::Fifo)),
    ];
    let mut records: Vec<_> = kinds
        .iter()
        .map(|(what, inode)| {
            let (key, payload) = attributes(inode);
            record(what, key, payload)
        })
        .collect();
    records.push(record("name by cookie", Key::Cookie(InodeNumber::ROOT, 3), by_cookie.encode()));
    records.push(record("entry by name", Key::Entry(InodeNumber::ROOT, name()), by_name.encode()));
    records.push(("extent", Key::Extent(file, (1 << 32) + 200), extent.to_value()));
    let extended = Key::ExtendedAttribute(file, Bytes::from_static(b"user.colour"));
    records.push(record("extended attribute", extended, b"blue\0".to_vec()));
    records.push(record("open file without a name", Key::Orphan(file), Vec::new()));
    records
}

fn record(what: &'static str, key: Key, record: Vec<u8>) -> (&'static str, Key, Value) {
    (what, key, Value::plain(record))
}

/// What S3 knows: an object, the sizes of its parts, an upload, a part.
fn object_records(file: InodeNumber) -> Vec<(&'static str, Key, Value)> {
    let one = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
    let checksum = ObjectChecksum { algorithm: 3, composite: false, value: "rosUhgyZmIg=".into() };
    let metadata = ObjectMetadata {
        headers: one("content-type", "text/plain"),
        user: one("colour", "blue"),
        tags: one("tag", "value"),
        storage_class: Some("STANDARD_IA".into()),
        checksum: Some(checksum),
        retention: None,
        legal_hold: false,
    };
    let object = ObjectRecord {
        change: 7,
        implicit: false,
        upload: 9,
        parts: 2,
        etag: "d41d8cd98f00b204e9800998ecf8427e-2".into(),
        metadata: metadata.clone(),
        order: 0,
        null: false,
    };
    let (begun, owner) = (Timestamp { seconds: 1_700_000_000, nanos: 1 }, "access-key".to_owned());
    let upload = UploadRecord { tag: 0x0102, begun, owner, algorithm: 3, composite: true, metadata };
    let part = PartRecord {
        inode: file,
        size: 5 << 20,
        modified: begun,
        etag: "d41d8cd98f00b204e9800998ecf8427e".into(),
        checksum: Some((3, "rosUhgyZmIg=".into())),
    };
    let attribute = |name| Key::ExtendedAttribute(file, Bytes::from_static(name));
    let number = InodeNumber(9);
    vec![
        record("object", attribute(RECORD_ATTRIBUTE), object.encode()),
        record("part sizes", attribute(PART_SIZES_ATTRIBUTE), encode_part_sizes(&[(1, 5 << 20), (1, 3)])),
        record("upload", Key::Upload(Bytes::from_static(b"a/key"), number), upload.encode()),
        record("part", Key::Part(number, 10_000), part.encode()),
    ]
}

/// Versions of an object and what is set of a bucket.
fn version_records(file: InodeNumber) -> Vec<(&'static str, Key, Value)> {
    let until = Timestamp { seconds: 1_800_000_000, nanos: 2 };
    let made = Timestamp { seconds: 1_700_000_000, nanos: 1 };
    let retention = Some(ObjectRetention { compliance: true, until });
    let metadata = ObjectMetadata { retention, legal_hold: true, ..ObjectMetadata::default() };
    let locked = ObjectRecord { order: 11, null: true, metadata, ..ObjectRecord::default() };
    let older = VersionRecord { inode: Some(file), null: true, made, replaced: until };
    let marker = VersionRecord { inode: None, null: false, made: until, replaced: until };
    let key = || Bytes::from_static(b"a/key");
    let attribute = Key::ExtendedAttribute(file, Bytes::from_static(RECORD_ATTRIBUTE));
    let part = Key::BucketPart(Bytes::from_static(b"versioning"));
    vec![
        record("locked version", attribute, locked.encode()),
        record("older version", Key::Version(key(), 10), older.encode()),
        record("delete marker", Key::Version(key(), 12), marker.encode()),
        record("null version", Key::NullVersion(key()), 10_u64.to_be_bytes().to_vec()),
        record("part of a bucket", part, b"\"enabled\"".to_vec()),
    ]
}

/// Decodes a record by its key, and encodes it again.
fn again(key: &Key, value: &Value) -> Result<Value, MapError> {
    Ok(match key {
        Key::Attributes(_) => Value::plain(Inode::decode(&value.payload)?.encode()),
        Key::Cookie(..) => Value::plain(Cookie::decode(&value.payload)?.encode()),
        Key::Entry(..) => Value::plain(Entry::decode(&value.payload)?.encode()),
        Key::Extent(_, end) => Extent::from_value(*end, value)?.to_value(),
        Key::ExtendedAttribute(_, name) if name == RECORD_ATTRIBUTE => {
            Value::plain(ObjectRecord::decode(&value.payload)?.encode())
        }
        Key::ExtendedAttribute(_, name) if name == PART_SIZES_ATTRIBUTE => {
            Value::plain(encode_part_sizes(&decode_part_sizes(&value.payload)?))
        }
        Key::ExtendedAttribute(..) | Key::Orphan(_) | Key::BucketPart(_) | Key::NullVersion(_) => {
            value.clone()
        }
        Key::Version(..) => Value::plain(VersionRecord::decode(&value.payload)?.encode()),
        Key::Part(..) => Value::plain(PartRecord::decode(&value.payload)?.encode()),
        Key::Upload(..) => Value::plain(UploadRecord::decode(&value.payload)?.encode()),
    })
}

#[test]
fn keys_and_values_of_the_map_are_as_ever() {
    check_records("map.txt", records());
    check_records("objects.txt", object_records(InodeNumber(0x0102)));
    check_records("versions.txt", version_records(InodeNumber(0x0102)));
}

/// Holds records against those in a file of the checkout, and against themselves decoded and encoded again.
fn check_records(file: &str, records: Vec<(&'static str, Key, Value)>) {
    let mut made = String::new();
    for (what, key, value) in records {
        let references: Vec<_> = value.refs.iter().map(|chunk| chunk.id.to_string()).collect();
        writeln!(made, "{what}\n  key {}\n  payload {}", hex(&key.encode()), hex(&value.payload))
            .expect("memory");
        if !references.is_empty() {
            writeln!(made, "  references {}", references.join(" ")).expect("memory");
        }
        assert_eq!(Key::decode(&key.encode()).as_ref(), Ok(&key), "{what}");
        assert_eq!(again(&key, &value).as_ref(), Ok(&value), "{what}");
    }
    golden(file, &made);
}

#[test]
fn values_of_the_local_map_are_as_ever() {
    let chunk = |byte, at| ChunkRef { id: ChunkId::new([byte; 32]), at };
    let refs = vec![chunk(1, Some(location(48))), chunk(2, None), chunk(3, Some(location(70_000)))];
    let value = Value { payload: Bytes::from_static(b"payload"), refs };
    let text = golden("value.hex", &(hex(&value.encode()) + "\n"));
    assert_eq!(Value::decode(&from_hex(&text)).expect("it decodes"), value);
}

/// Entries that use everything that a leaf can hold.
fn small_map() -> Map {
    let chunk = |byte, at| ChunkRef { id: ChunkId::new([byte; 32]), at };
    let refs = vec![chunk(0xc1, Some(location(48))), chunk(0xc2, None)];
    let value = |payload: &[u8]| Value::plain(payload.to_vec());
    Map::from([
        (Bytes::from_static(b"directory/a"), value(b"short")),
        (Bytes::from_static(b"directory/a long name"), value(&[7; 1024])),
        (Bytes::from_static(b"directory/apart"), value(&[8; 1025])),
        (Bytes::from_static(b"file"), Value { payload: Bytes::from_static(b"extent"), refs }),
        (Bytes::from_static(b"nothing"), value(b"")),
    ])
}

#[tokio::test]
async fn a_leaf_is_made_and_read_as_ever() {
    let bench = Bench::new();
    let root = bench.build(&small_map()).await;
    let leaf = bench.nodes.encoded(&root.id).expect("it was put");
    let made = format!("{}\n{}\n", root.id, hex(&leaf));
    let text = golden("leaf.hex", &made);
    let (id, bytes) = text.split_once('\n').expect("two lines");
    let id = ChunkId::from_hex(id).expect("an id");
    bench.nodes.set(id, Some(from_hex(bytes)));
    assert_eq!(bench.contents(&Root { id, ..root }).await, small_map());
}

/// A map with keys that share much and little, and values of many lengths.
fn large_map(keys: &DomainKeys) -> Map {
    let entry = |number: u64| {
        let digest = keys.chunk_id(&number.to_le_bytes()).to_string();
        let length = number as usize * 7 % 40;
        let key = format!("{:04}/{}", number / 100, &digest[..length]);
        let key = [key.as_bytes(), &number.to_be_bytes()].concat();
        let times = if HEAVY.contains(&number) { 15 } else { 1 };
        (Bytes::from(key), Value::plain(digest.as_bytes()[length..].repeat(times)))
    };
    (0..ENTRIES).map(entry).collect()
}

/// A line for each node, parents first.
async fn nodes(bench: &Bench, root: &Root) -> (String, Vec<Arc<Node>>) {
    let (mut text, mut found) = (String::new(), Vec::new());
    let mut rest = vec![ChunkRef::new(root.id)];
    while let Some(reference) = rest.pop() {
        let node = bench.nodes.node(&reference).await.expect("it was put");
        let bytes = bench.nodes.encoded(&reference.id).expect("it was put");
        let canonical_bytes = u32::from_le_bytes(bytes[..4].try_into().expect("four bytes"));
        let (level, below) = (node.level(), node.entries_below());
        writeln!(text, "level {level} entries {below} bytes {canonical_bytes} {}", reference.id)
            .expect("memory");
        let mut children: Vec<_> = node.children().copied().collect();
        children.reverse();
        rest.extend(children);
        found.push(node);
    }
    (text, found)
}

#[tokio::test]
async fn a_whole_tree_has_the_nodes_and_the_root_that_it_ever_had() {
    let bench = Bench::new();
    let map = large_map(&bench.keys);
    let root = bench.build(&map).await;
    let (lines, found) = nodes(&bench, &root).await;
    assert!(root.height >= 3 && found.len() > 100, "{} nodes in {} levels", found.len(), root.height);
    let made = format!("root {} height {} entries {}\n{lines}", root.id, root.height, root.entries);
    golden("tree.txt", &made);
    let inner = bench.nodes.encoded(&root.id).expect("it was put");
    golden("root-inner.hex", &format!("{}\n{}\n", root.id, hex(&inner)));
    assert!(bench.contents(&root).await == map);
}
