//! Heads: published roots.

use serde_json::Value;

use super::bytes::{Bytes, array_from_hex, from_hex};
use super::chunks::Reference;
use super::index::{Id, Location};
use super::objects::Json;
use super::tree::Root;
use super::{In, Read, Refused, expect, refuse};

const HEAD_BYTES_MAX: usize = 8_388_608;
const HOT_BYTES_MAX: usize = 32_768;

/// The fields of a JSON object.
pub type Fields = serde_json::Map<String, Value>;

/// A published root, as far as its reader needs it.
#[derive(Clone, Debug)]
pub struct Head {
    /// The last part of its name.
    pub name: String,
    /// The name of the share.
    pub share_name: String,
    /// The sequence.
    pub sequence: u64,
    /// The name of the head before.
    pub parent: Option<String>,
    /// The names of the heads of its line that are kept; none if it does not say.
    pub kept: Vec<String>,
    /// No inode has this number or a higher one.
    pub next_inode: u64,
    /// Bytes and inodes of the share.
    pub usage: (u64, u64),
    /// All fields, for whoever wants more.
    pub fields: Fields,
    pub(super) domain: [u8; 16],
    pub(super) root: Root,
    pub(super) hot: Vec<HotRange>,
}

/// Bytes of a pack that were used lately.
#[derive(Clone, Copy, Debug)]
pub(super) struct HotRange {
    pub(super) pack: Id,
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) is_data: bool,
}

/// Epoch and sequence in the name of a head.
pub(super) fn parse_name(name: &str) -> Read<(u32, u64)> {
    let parts: Vec<_> = name.split('-').collect();
    let [epoch, sequence, random] = parts[..] else { return refuse("no name of a head") };
    array_from_hex::<4>(random)?;
    let epoch = !u32::from_be_bytes(array_from_hex(epoch)?);
    Ok((epoch, !u64::from_be_bytes(array_from_hex(sequence)?)))
}

/// The fields of a head, in the object of that name.
pub(super) fn parse(share: &[u8; 16], name: &str, payload: &[u8]) -> Read<Head> {
    let json = Json::parse(payload, HEAD_BYTES_MAX)?;
    let (epoch, sequence) = parse_name(name)?;
    expect(json.number("epoch")? == u64::from(epoch), "a head of another epoch")?;
    expect(json.number("sequence")? == sequence, "a head with another sequence")?;
    from_fields(share, name, json)
}

/// A head from its fields, which may stand in a snapshot.
pub(super) fn from_fields(share: &[u8; 16], name: &str, json: Json) -> Read<Head> {
    let description = json.object("share")?;
    expect(description.id::<16>("id")? == *share, "a head of another share")?;
    let parent = match json.value("parent")? {
        Value::Null => None,
        Value::String(parent) => Some(parent.clone()),
        _ => return refuse("a parent that is no name"),
    };
    let usage = json.object("usage")?;
    json.time("frozen_at")?;
    json.time("published_at")?;
    json.id::<8>("incarnation")?;
    json.number("journal_sequence")?;
    json.value("settings")?;
    json.object("statistics")?;
    Ok(Head {
        name: name.to_owned(),
        share_name: description.text("name")?.to_owned(),
        domain: description.id("domain")?,
        sequence: json.number("sequence")?,
        parent,
        kept: kept(&json)?,
        next_inode: json.number("next_inode")?,
        usage: (usage.number("bytes")?, usage.number("inodes")?),
        root: root(&json.object("root")?).within("root")?,
        hot: hot(&json).within("hot")?,
        fields: json.0,
    })
}

fn kept(json: &Json) -> Read<Vec<String>> {
    let Ok(kept) = json.value("kept") else { return Ok(Vec::new()) };
    let Value::Array(kept) = kept else { return refuse("kept heads that are no list") };
    let name = |head: &Value| match head {
        Value::Object(fields) => {
            let json = Json(fields.clone());
            json.time("frozen_at")?;
            json.text("name").map(str::to_owned)
        }
        _ => refuse("a kept head that is no object"),
    };
    kept.iter().map(name).collect()
}

fn root(json: &Json) -> Read<Root> {
    let hint = match json.value("at")? {
        Value::Null => None,
        Value::Object(fields) => Some(location(&Json(fields.clone()))?),
        _ => return refuse("a location that is none"),
    };
    let height = u8::try_from(json.number("height")?).map_err(|_| Refused("too high".into()))?;
    let root = Root { top: Reference { id: json.id("id")?, hint }, height, entries: json.number("entries")? };
    let signs = [root.height == 0, root.entries == 0, root.top.id == [0; 32]];
    let is_empty = signs[0];
    expect(signs.iter().all(|sign| *sign == is_empty), "a root that is half empty")?;
    expect(!is_empty || root.top.hint.is_none(), "an empty map that lies somewhere")?;
    Ok(root)
}

fn location(json: &Json) -> Read<Location> {
    let number = |field: &str| {
        let number = json.number(field)?;
        u32::try_from(number).map_err(|_| Refused(format!("{field:?} is too large")))
    };
    Ok(Location {
        pack: json.id("pack")?,
        frame_offset: number("frame_offset")?,
        frame_bytes: number("frame_bytes")?,
        chunk_offset: number("chunk_offset")?,
        chunk_bytes: number("chunk_bytes")?,
    })
}

/// What was used lately; where it is said elsewhere, that is a name of a head.
fn hot(json: &Json) -> Read<Vec<HotRange>> {
    if json.value("hot_in").is_ok() {
        parse_name(json.text("hot_in")?)?;
    }
    if json.value("hot").is_err() {
        return Ok(Vec::new());
    }
    let bytes = from_hex(json.text("hot")?)?;
    expect(bytes.len() <= HOT_BYTES_MAX, "too much is hot")?;
    let (mut bytes, mut ranges, mut data_began) = (Bytes(&bytes), Vec::new(), false);
    while !bytes.0.is_empty() {
        let pack: Id = bytes.array()?;
        let count = varint(&mut bytes)?;
        let is_data = count & 1 == 1;
        expect(is_data || !data_began, "nodes after data")?;
        expect(count > 1, "a pack of which nothing is hot")?;
        data_began |= is_data;
        let mut end = 0;
        for _ in 0..count >> 1 {
            let start = end + varint(&mut bytes)?;
            end = start + varint(&mut bytes)?;
            expect(start < end && end <= u64::from(u32::MAX), "a range that cannot be")?;
            ranges.push(HotRange { pack, start, end, is_data });
        }
    }
    Ok(ranges)
}

fn varint(bytes: &mut Bytes<'_>) -> Read<u64> {
    let mut number = 0;
    for place in 0..5 {
        let byte = bytes.u8()?;
        number |= u64::from(byte & 0x7f) << (7 * place);
        if byte < 0x80 {
            expect(place == 0 || byte > 0, "a number that is longer than it need be")?;
            return Ok(number);
        }
    }
    refuse("a number that is too long")
}
