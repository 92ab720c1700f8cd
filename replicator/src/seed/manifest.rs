//! The manifest: what lies on the disk, signed.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use tidegate_chunker::{Digest, Signature, SigningKey, VerifyingKey};

use super::SeedError;
use crate::repository::{decode_hex, encode_hex};
use crate::store::{ObjectName, durable_file};

/// Length of a signer's public key, in bytes.
pub const SIGNER_BYTES: usize = VerifyingKey::LEN;

const FILE: &str = "manifest";
const SIGNATURE: &str = "manifest.signature";
/// What is signed begins with this, so that a signature of something else never fits.
const PURPOSE: &[u8] = b"tidegate seed manifest 1\n";
/// Longest line, in bytes: a digest, a length, a name.
const LINE_BYTES_MAX: u64 = 1024;
/// How much of a file is read at once, in bytes.
const PIECE_BYTES: usize = 1 << 20;

/// One object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) digest: [u8; Digest::LEN],
    pub(super) bytes: u64,
    pub(super) name: ObjectName,
}

/// Where objects lie.
pub(super) fn objects(folder: &Path) -> PathBuf {
    folder.join("objects")
}

/// For `map_err`.
pub(super) fn disk(path: &Path) -> impl FnOnce(std::io::Error) -> SeedError {
    let path = path.to_path_buf();
    |source| SeedError::Disk { path, source }
}

/// A manifest that is being written. It takes the place of an older one when it is signed.
pub(super) struct Writer {
    draft: BufWriter<File>,
    draft_path: PathBuf,
    folder: PathBuf,
    digest: Digest,
}

impl Writer {
    pub(super) fn create(folder: &Path) -> Result<Self, SeedError> {
        let draft_path = folder.join("manifest.draft");
        let draft = BufWriter::new(File::create(&draft_path).map_err(disk(&draft_path))?);
        Ok(Self { draft, draft_path, folder: folder.to_path_buf(), digest: Digest::default() })
    }

    pub(super) fn add(&mut self, line: &Line) -> Result<(), SeedError> {
        let text = format!("{} {} {}\n", encode_hex(&line.digest), line.bytes, line.name);
        self.digest.update(text.as_bytes());
        self.draft.write_all(text.as_bytes()).map_err(disk(&self.draft_path))
    }

    /// The old signature goes first, so that it is never beside a manifest which it does not fit.
    pub(super) fn sign(mut self, key: &SigningKey) -> Result<(), SeedError> {
        let (path, signature_path) = (self.folder.join(FILE), self.folder.join(SIGNATURE));
        self.draft.flush().and_then(|()| self.draft.get_ref().sync_all()).map_err(disk(&self.draft_path))?;
        if signature_path.exists() {
            durable_file::remove_durably(&signature_path).map_err(disk(&signature_path))?;
        }
        durable_file::rename_durably(&self.draft_path, &path).map_err(disk(&path))?;
        let signature = encode_hex(key.sign(&signed(&self.digest)).as_bytes());
        durable_file::replace(&signature_path, signature.as_bytes()).map_err(disk(&signature_path))
    }
}

fn signed(digest: &Digest) -> Vec<u8> {
    [PURPOSE, &digest.finish()].concat()
}

/// Opens the manifest of a folder, once its signature has been found to be the signer's.
pub(super) fn verified(folder: &Path, signer: &VerifyingKey) -> Result<(), SeedError> {
    let (path, signature_path) = (folder.join(FILE), folder.join(SIGNATURE));
    let text = std::fs::read_to_string(&signature_path).map_err(disk(&signature_path))?;
    let not_signed = || SeedError::NotSigned { folder: folder.to_path_buf() };
    let bytes = decode_hex(text.trim()).ok_or_else(not_signed)?;
    let signature = Signature::new(bytes.try_into().map_err(|_| not_signed())?);
    let (digest, _) = digest_of(&path).map_err(disk(&path))?;
    if signer.verifies(&signed(&digest), &signature) { Ok(()) } else { Err(not_signed()) }
}

/// The lines of a manifest, as they are read.
pub(super) fn lines(folder: &Path) -> Result<impl Iterator<Item = Result<Line, SeedError>>, SeedError> {
    let path = folder.join(FILE);
    let mut file = BufReader::new(File::open(&path).map_err(disk(&path))?);
    let mut number = 0;
    Ok(std::iter::from_fn(move || {
        let mut text = String::new();
        number += 1;
        match (&mut file).take(LINE_BYTES_MAX).read_line(&mut text) {
            Ok(0) => None,
            Ok(_) => Some(parse(&text).ok_or(SeedError::BadLine { line: number })),
            Err(source) => Some(Err(disk(&path)(source))),
        }
    }))
}

fn parse(text: &str) -> Option<Line> {
    let mut parts = text.strip_suffix('\n')?.splitn(3, ' ');
    let digest = decode_hex(parts.next()?)?.try_into().ok()?;
    let bytes = parts.next()?.parse().ok()?;
    Some(Line { digest, bytes, name: ObjectName::new(parts.next()?).ok()? })
}

/// The digest of a file, and its length in bytes. Blocks.
pub(super) fn digest_of(path: &Path) -> std::io::Result<(Digest, u64)> {
    let (mut file, mut digest, mut bytes) = (File::open(path)?, Digest::default(), 0);
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok((digest, bytes)),
            read => {
                digest.update(&piece[..read]);
                bytes += read as u64;
            }
        }
    }
}
