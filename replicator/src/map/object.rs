//! What S3 knows of an object, of a version of it, of an upload in parts and of a part, as it stands in the map.
//!
//! An object is a regular file. What a client said of it, its ETag and its checksum stand in the extended
//! attribute [`RECORD_ATTRIBUTE`]; the sizes of the parts that it was made of in [`PART_SIZES_ATTRIBUTE`], and their
//! checksums, where each has one, in [`PART_CHECKSUMS_ATTRIBUTE`]. An upload has a record by its key ([`super::Key::Upload`]), a part one by its number ([`super::Key::Part`]) that
//! names the file without a name that holds its bytes. A version that its key does not lead to has a record by key and
//! order ([`super::Key::Version`]) that names its file, which counts that as its one link, or says that it is a delete
//! marker.
//!
//! Numbers are little-endian. `text` is its length as u32, then its bytes; unknown fields are refused.
//!
//! ```text
//! object   version u8 = 1 | change u64 | implicit u8 (0, 1) | upload u64 | parts u32 | etag text
//!          | metadata
//! version  version u8 = 1 | inode u64 (0: a delete marker) | null u8 (0, 1)
//!          | made, replaced: each seconds i64, nanoseconds u32
//! upload   version u8 = 1 | tag u64 | begun: seconds i64, nanoseconds u32 | owner text | algorithm u8 (0: none)
//!          | kind u8 | metadata
//! part     version u8 = 1 | inode u64 | size u64 | modified: seconds i64, nanoseconds u32 | etag text
//!          | checksum value text | algorithm u8 (0: no checksum)
//! metadata fields until the end: tag u8, then
//!   1 header      name text, value text         2 of the client   name text, value text
//!   3 tag         name text, value text         4 storage class   text
//!   5 checksum    algorithm u8, kind u8 (0 of all bytes, 1 of the parts' checksums), value text
//!   6 retention   mode u8 (1 governance, 2 compliance), until: seconds i64, nanoseconds u32
//!   7 legal hold
//!   8 version     order u64, null u8 (0, 1): of an object only
//! sizes    version u8 = 1 | runs until the end: how many parts u32, bytes of each u64
//! sums     version u8 = 1 | algorithm u8 | bytes of a value u8 (not 0) | the values of all parts, until the end
//! ```
//!
//! `change` is the file's change counter when the record was written: in a share that NFS clients write too,
//! an ETag and a checksum hold only while the file has not changed since.

use std::collections::BTreeMap;

use super::{Fields, InodeNumber, MapError, Timestamp};
use crate::tree::PAYLOAD_BYTES_MAX;

/// The extended attribute that holds an [`ObjectRecord`].
pub const RECORD_ATTRIBUTE: &[u8] = b"user.tidegate.object";
/// The extended attribute that holds the sizes of the parts of an object that was uploaded in parts.
pub const PART_SIZES_ATTRIBUTE: &[u8] = b"user.tidegate.parts";
/// The extended attribute that holds their checksums, as [`PartChecksums`].
pub const PART_CHECKSUMS_ATTRIBUTE: &[u8] = b"user.tidegate.part-sums";

const VERSION: u8 = 1;
const HEADER: u8 = 1;
const USER: u8 = 2;
const TAG: u8 = 3;
const STORAGE_CLASS: u8 = 4;
const CHECKSUM: u8 = 5;
const RETENTION: u8 = 6;
const LEGAL_HOLD: u8 = 7;
const PLACE: u8 = 8;

/// Bytes of a record of [`PartChecksums`] before its values.
const SUMS_HEAD_BYTES: usize = 3;

/// A checksum: the algorithm is one of the five that S3 knows, numbered by whoever writes it from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectChecksum {
    /// Which: 1 CRC32, 2 CRC32C, 3 CRC64NVME, 4 SHA1, 5 SHA256.
    pub algorithm: u8,
    /// Whether it is of the checksums of the parts instead of all bytes.
    pub composite: bool,
    /// As S3 writes it.
    pub value: String,
}

/// Until when an object is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectRetention {
    /// Whether nobody may lift it, instead of who has the right to.
    pub compliance: bool,
    /// Until when.
    pub until: Timestamp,
}

/// What a client said of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectMetadata {
    /// Headers that are given back, by lower-case name.
    pub headers: BTreeMap<String, String>,
    /// Metadata of the client's own.
    pub user: BTreeMap<String, String>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// The storage class that was asked for.
    pub storage_class: Option<String>,
    /// The checksum of the object.
    pub checksum: Option<ObjectChecksum>,
    /// Until when it is kept.
    pub retention: Option<ObjectRetention>,
    /// Whether it is kept until that is lifted.
    pub legal_hold: bool,
}

/// What S3 knows of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectRecord {
    /// The file's change counter when this was written.
    pub change: u64,
    /// Of a directory: that it is there only because of what is in it, and so is no key of its own.
    pub implicit: bool,
    /// The upload that made it; 0 for none.
    pub upload: u64,
    /// How many parts it was made of; 0 when it was made in one piece.
    pub parts: u32,
    /// Where it stands among the versions of its key: later ones are higher. 0 for what was made while the bucket
    /// had no versions.
    pub order: u64,
    /// Whether it is the version `null`; so is what has the order 0.
    pub null: bool,
    /// Without quotes; empty for a directory.
    pub etag: String,
    /// What the client said.
    pub metadata: ObjectMetadata,
}

/// A version that its key does not lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionRecord {
    /// The file that holds it; none for a delete marker.
    pub inode: Option<InodeNumber>,
    /// Whether it is the version `null`.
    pub null: bool,
    /// When it was made.
    pub made: Timestamp,
    /// When another took its place; for a marker that nothing replaced, when it was made.
    pub replaced: Timestamp,
}

/// An upload in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadRecord {
    /// Random: the second half of its id.
    pub tag: u64,
    /// When it began.
    pub begun: Timestamp,
    /// Whose access key began it: the owner's name.
    pub owner: String,
    /// Which checksum it computes, numbered as in [`ObjectChecksum`]; 0 for none.
    pub algorithm: u8,
    /// Whether that is of the checksums of the parts.
    pub composite: bool,
    /// What the client said of the object.
    pub metadata: ObjectMetadata,
}

/// A part of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartRecord {
    /// The file that holds its bytes.
    pub inode: InodeNumber,
    /// Its length in bytes.
    pub size: u64,
    /// When it was written.
    pub modified: Timestamp,
    /// Without quotes: the MD5 of its bytes in hexadecimal.
    pub etag: String,
    /// Its checksum, numbered as in [`ObjectChecksum`], with its value.
    pub checksum: Option<(u8, String)>,
}

impl ObjectRecord {
    /// Encodes the record.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.change.to_le_bytes());
        out.push(u8::from(self.implicit));
        out.extend_from_slice(&self.upload.to_le_bytes());
        out.extend_from_slice(&self.parts.to_le_bytes());
        put_text(&mut out, &self.etag);
        self.metadata.put(&mut out);
        if (self.order, self.null) != (0, false) {
            out.push(PLACE);
            out.extend_from_slice(&self.order.to_le_bytes());
            out.push(u8::from(self.null));
        }
        out
    }

    /// Decodes the record.
    pub fn decode(record: &[u8]) -> Result<Self, MapError> {
        let mut fields = Fields::new("an object", record);
        fields.version(VERSION)?;
        let (change, implicit) = (fields.u64()?, flag(&mut fields)?);
        let (upload, parts, etag) = (fields.u64()?, fields.u32()?, text(&mut fields)?);
        let (metadata, (order, null)) = ObjectMetadata::take(fields)?;
        Ok(Self { change, implicit, upload, parts, order, null, etag, metadata })
    }
}

impl VersionRecord {
    /// Encodes the record.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.inode.map_or(0, |inode| inode.0).to_le_bytes());
        out.push(u8::from(self.null));
        put_time(&mut out, self.made);
        put_time(&mut out, self.replaced);
        out
    }

    /// Decodes the record.
    pub fn decode(record: &[u8]) -> Result<Self, MapError> {
        let mut fields = Fields::new("a version", record);
        fields.version(VERSION)?;
        let inode = Some(fields.u64()?).filter(|inode| *inode != 0).map(InodeNumber);
        let null = flag(&mut fields)?;
        let (made, replaced) = (time(&mut fields)?, time(&mut fields)?);
        fields.end()?;
        Ok(Self { inode, null, made, replaced })
    }
}

impl UploadRecord {
    /// Encodes the record.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.tag.to_le_bytes());
        put_time(&mut out, self.begun);
        put_text(&mut out, &self.owner);
        out.extend_from_slice(&[self.algorithm, u8::from(self.composite)]);
        self.metadata.put(&mut out);
        out
    }

    /// Decodes the record.
    pub fn decode(record: &[u8]) -> Result<Self, MapError> {
        let mut fields = Fields::new("an upload", record);
        fields.version(VERSION)?;
        Ok(Self {
            tag: fields.u64()?,
            begun: time(&mut fields)?,
            owner: text(&mut fields)?,
            algorithm: fields.u8()?,
            composite: flag(&mut fields)?,
            metadata: ObjectMetadata::take(fields)?.0,
        })
    }
}

impl PartRecord {
    /// Encodes the record.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.inode.0.to_le_bytes());
        out.extend_from_slice(&self.size.to_le_bytes());
        put_time(&mut out, self.modified);
        put_text(&mut out, &self.etag);
        let (algorithm, value) = self.checksum.as_ref().map_or((0, ""), |(which, value)| (*which, value));
        put_text(&mut out, value);
        out.push(algorithm);
        out
    }

    /// Decodes the record.
    pub fn decode(record: &[u8]) -> Result<Self, MapError> {
        let mut fields = Fields::new("a part", record);
        fields.version(VERSION)?;
        let (inode, size) = (InodeNumber(fields.u64()?), fields.u64()?);
        let (modified, etag, value) = (time(&mut fields)?, text(&mut fields)?, text(&mut fields)?);
        let checksum = match fields.u8()? {
            0 => None,
            algorithm => Some((algorithm, value)),
        };
        fields.end()?;
        Ok(Self { inode, size, modified, etag, checksum })
    }
}

impl ObjectMetadata {
    fn put(&self, out: &mut Vec<u8>) {
        for (field, entries) in [(HEADER, &self.headers), (USER, &self.user), (TAG, &self.tags)] {
            for (name, value) in entries {
                out.push(field);
                put_text(out, name);
                put_text(out, value);
            }
        }
        if let Some(class) = &self.storage_class {
            out.push(STORAGE_CLASS);
            put_text(out, class);
        }
        if let Some(checksum) = &self.checksum {
            out.extend_from_slice(&[CHECKSUM, checksum.algorithm, u8::from(checksum.composite)]);
            put_text(out, &checksum.value);
        }
        if let Some(retention) = &self.retention {
            out.extend_from_slice(&[RETENTION, if retention.compliance { 2 } else { 1 }]);
            put_time(out, retention.until);
        }
        if self.legal_hold {
            out.push(LEGAL_HOLD);
        }
    }

    /// Also the order of an object among the versions of its key, and whether it is the version `null`.
    fn take(mut fields: Fields<'_>) -> Result<(Self, (u64, bool)), MapError> {
        let (mut found, mut place) = (Self::default(), (0, false));
        while !fields.rest.is_empty() {
            let field = fields.u8()?;
            let entries = match field {
                HEADER => &mut found.headers,
                USER => &mut found.user,
                TAG => &mut found.tags,
                STORAGE_CLASS => {
                    found.storage_class = Some(text(&mut fields)?);
                    continue;
                }
                CHECKSUM => {
                    let (algorithm, composite) = (fields.u8()?, flag(&mut fields)?);
                    found.checksum = Some(ObjectChecksum { algorithm, composite, value: text(&mut fields)? });
                    continue;
                }
                RETENTION => {
                    let compliance = match fields.u8()? {
                        1 => false,
                        2 => true,
                        _ => return Err(fields.error("its mode of retention is unknown")),
                    };
                    found.retention = Some(ObjectRetention { compliance, until: time(&mut fields)? });
                    continue;
                }
                LEGAL_HOLD => {
                    found.legal_hold = true;
                    continue;
                }
                PLACE => {
                    place = (fields.u64()?, flag(&mut fields)?);
                    continue;
                }
                _ => return Err(fields.error("it has a field of an unknown kind")),
            };
            let name = text(&mut fields)?;
            entries.insert(name, text(&mut fields)?);
        }
        Ok((found, place))
    }
}

/// Encodes runs of parts of equal size: how many, and their bytes. 120 KB when each of 10,000 parts differs.
pub fn encode_part_sizes(runs: &[(u32, u64)]) -> Vec<u8> {
    let mut out = vec![VERSION];
    for (count, bytes) in runs {
        out.extend_from_slice(&count.to_le_bytes());
        out.extend_from_slice(&bytes.to_le_bytes());
    }
    out
}

/// Decodes what [`encode_part_sizes`] made.
pub fn decode_part_sizes(record: &[u8]) -> Result<Vec<(u32, u64)>, MapError> {
    let mut fields = Fields::new("part sizes", record);
    fields.version(VERSION)?;
    let mut runs = Vec::new();
    while !fields.rest.is_empty() {
        runs.push((fields.u32()?, fields.u64()?));
    }
    Ok(runs)
}

/// The checksums of the parts that an object was made of, in the order of their numbers: as many as a record of the tree holds,
/// which are 8,191 of SHA256, and all 10,000 of any shorter one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartChecksums {
    /// Which, numbered as in [`ObjectChecksum`].
    algorithm: u8,
    value_bytes: usize,
    values: Vec<u8>,
}

impl PartChecksums {
    /// Of values that are equally long, and not in base64; none when they are not, when there are none, or more than a record
    /// holds ([`PAYLOAD_BYTES_MAX`]).
    pub fn new<'v>(algorithm: u8, values: impl IntoIterator<Item = &'v [u8]>) -> Option<Self> {
        let (mut value_bytes, mut all) = (0, Vec::new());
        for value in values {
            if value.is_empty() || value_bytes != 0 && value.len() != value_bytes {
                return None;
            }
            value_bytes = value.len();
            all.extend_from_slice(value);
        }
        let fits = (1..=usize::from(u8::MAX)).contains(&value_bytes)
            && all.len() + SUMS_HEAD_BYTES <= PAYLOAD_BYTES_MAX;
        fits.then_some(Self { algorithm, value_bytes, values: all })
    }

    /// Which algorithm, numbered as in [`ObjectChecksum`].
    pub fn algorithm(&self) -> u8 {
        self.algorithm
    }

    /// The values in order, not in base64.
    pub fn values(&self) -> impl Iterator<Item = &[u8]> {
        self.values.chunks_exact(self.value_bytes)
    }

    /// Encodes the record.
    pub fn encode(&self) -> Vec<u8> {
        [&[VERSION, self.algorithm, self.value_bytes as u8], &self.values[..]].concat()
    }

    /// Decodes what [`PartChecksums::encode`] made.
    pub fn decode(record: &[u8]) -> Result<Self, MapError> {
        let mut fields = Fields::new("part checksums", record);
        fields.version(VERSION)?;
        let (algorithm, value_bytes) = (fields.u8()?, usize::from(fields.u8()?));
        if value_bytes == 0 || fields.rest.is_empty() || !fields.rest.len().is_multiple_of(value_bytes) {
            return Err(fields.error("its values are not of one length"));
        }
        Ok(Self { algorithm, value_bytes, values: fields.rest.to_vec() })
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u32).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn put_time(out: &mut Vec<u8>, time: Timestamp) {
    out.extend_from_slice(&time.seconds.to_le_bytes());
    out.extend_from_slice(&time.nanos.to_le_bytes());
}

fn flag(fields: &mut Fields<'_>) -> Result<bool, MapError> {
    match fields.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(fields.error("a flag of it is neither 0 nor 1")),
    }
}

fn text(fields: &mut Fields<'_>) -> Result<String, MapError> {
    let length = fields.u32()? as usize;
    let Some((text, rest)) = fields.rest.split_at_checked(length) else {
        return Err(fields.error("it is too short"));
    };
    fields.rest = rest;
    String::from_utf8(text.to_vec()).map_err(|_| fields.error("a text in it is not UTF-8"))
}

fn time(fields: &mut Fields<'_>) -> Result<Timestamp, MapError> {
    Ok(Timestamp { seconds: i64::from_le_bytes(fields.take()?), nanos: fields.u32()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> ObjectMetadata {
        let one = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
        ObjectMetadata {
            headers: one("content-type", "text/plain"),
            user: one("colour", "grün"),
            tags: one("tag", ""),
            storage_class: Some("STANDARD_IA".into()),
            checksum: Some(ObjectChecksum { algorithm: 3, composite: true, value: "abc=-2".into() }),
            retention: Some(ObjectRetention { compliance: true, until: Timestamp { seconds: 9, nanos: 1 } }),
            legal_hold: true,
        }
    }

    fn records() -> (ObjectRecord, UploadRecord, PartRecord) {
        let (begun, etag) = (Timestamp { seconds: -1, nanos: 7 }, "e".to_owned());
        let object = ObjectRecord {
            change: 7,
            implicit: true,
            upload: 9,
            parts: 2,
            order: 3,
            null: true,
            etag: etag.clone(),
            metadata: metadata(),
        };
        let upload = UploadRecord {
            tag: 5,
            begun,
            owner: "key".into(),
            algorithm: 5,
            composite: true,
            metadata: metadata(),
        };
        let checksum = Some((2, "sum".into()));
        (object, upload, PartRecord { inode: InodeNumber(4), size: 3, modified: begun, etag, checksum })
    }

    #[test]
    fn records_round_trip() {
        let (object, upload, part) = records();
        assert_eq!(ObjectRecord::decode(&object.encode()), Ok(object));
        assert_eq!(UploadRecord::decode(&upload.encode()), Ok(upload));
        assert_eq!(PartRecord::decode(&part.encode()), Ok(part.clone()));
        let without = PartRecord { checksum: None, ..part };
        assert_eq!(PartRecord::decode(&without.encode()), Ok(without));
        let version = VersionRecord {
            inode: None,
            null: true,
            made: Timestamp { seconds: 5, nanos: 6 },
            replaced: part.modified,
        };
        assert_eq!(VersionRecord::decode(&version.encode()), Ok(version));
        let version = VersionRecord { inode: Some(InodeNumber(7)), ..version };
        assert_eq!(VersionRecord::decode(&version.encode()), Ok(version));
        assert_eq!(ObjectRecord::decode(&ObjectRecord::default().encode()), Ok(ObjectRecord::default()));
        assert_eq!(decode_part_sizes(&encode_part_sizes(&[(3, 5), (1, 2)])), Ok(vec![(3, 5), (1, 2)]));
    }

    #[test]
    fn a_record_cut_anywhere_is_an_error_or_lacks_whole_fields() {
        let (object, upload, part) = records();
        for length in 0..object.encode().len() {
            if let Ok(cut) = ObjectRecord::decode(&object.encode()[..length]) {
                assert_ne!(cut, object);
            }
        }
        for length in 0..upload.encode().len() {
            if let Ok(cut) = UploadRecord::decode(&upload.encode()[..length]) {
                assert_ne!(cut, upload);
            }
        }
        for length in 0..part.encode().len() {
            assert!(PartRecord::decode(&part.encode()[..length]).is_err());
        }
    }

    #[test]
    fn checksums_of_parts_are_of_one_length() {
        let values: [&[u8]; 3] = [&[1; 32], &[2; 32], &[3; 32]];
        let sums = PartChecksums::new(5, values).expect("equally long");
        let record = sums.encode();
        assert_eq!(record[..4], [1, 5, 32, 1], "golden: docs/format.md");
        assert_eq!(record.len(), 3 + 96);
        let back = PartChecksums::decode(&record).expect("as it was written");
        assert_eq!((back.algorithm(), back.values().collect::<Vec<_>>()), (5, values.to_vec()));
        assert_eq!(back, sums);
        let mixed: [&[u8]; 2] = [&[1; 4], &[2; 8]];
        assert_eq!(PartChecksums::new(1, mixed), None);
        assert_eq!(PartChecksums::new(1, []), None);
        let many = |count: usize| PartChecksums::new(5, std::iter::repeat_n(&[7; 32][..], count));
        assert!(many(8_191).is_some_and(|sums| sums.encode().len() <= PAYLOAD_BYTES_MAX));
        assert_eq!(many(8_192), None, "no tree takes a record that long");
        for wrong in [&record[..3], &record[..40], &[1, 5, 0, 1], &[2, 5, 1, 1], &[1, 5]] {
            assert!(PartChecksums::decode(wrong).is_err(), "{wrong:?}");
        }
    }
}
