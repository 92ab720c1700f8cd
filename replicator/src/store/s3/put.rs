//! Storing an object in one request.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use aws_smithy_types::base64;

use super::error::store_error;
use super::paced::PacedBody;
use super::{ChecksumMode, S3Store};
use crate::store::body::{changed, unreadable};
use crate::store::link::passage::Pace;
use crate::store::{Body, Direction, ErrorKind, ObjectName, StoreError};

/// The largest body of one request, by S3's rules.
const PUT_BYTES_MAX: u64 = 5 << 30;

/// How much of a file is read at a time for its checksum.
const CHECKSUM_READ_BYTES: u64 = 256 << 10;

impl S3Store {
    /// Stores a body in one request; with `create_new`, only where the store holds no such object.
    pub(super) async fn put_at_once(
        &self,
        name: &ObjectName,
        body: &Body,
        create_new: bool,
    ) -> Result<(), StoreError> {
        if body.len() > PUT_BYTES_MAX {
            return Err(StoreError::new(ErrorKind::Invalid, format!("store {name} at once"))
                .caused_by(format!("it has {} bytes, and one request takes {PUT_BYTES_MAX}", body.len())));
        }
        let checksum = self.checksum(body, 0, body.len()).await?;
        self.put_with_checksum(name, body, create_new, checksum).await
    }

    /// Stores a body under a checksum that may be wrong, to see what the store does with it.
    pub(in crate::store) async fn put_with_checksum(
        &self,
        name: &ObjectName,
        body: &Body,
        create_new: bool,
        checksum: Option<String>,
    ) -> Result<(), StoreError> {
        self.client
            .put_object()
            .bucket(&self.bucket)
            .key(self.key(name))
            .set_if_none_match(create_new.then(|| "*".to_owned()))
            .set_checksum_crc32_c(checksum)
            .content_length(body.len() as i64)
            .body(stream(body, 0, body.len()).await?)
            .send()
            .await
            .map(drop)
            .map_err(|error| store_error(format!("store {name}"), error))
    }

    /// The checksum of a piece of a body, as S3 writes it, if one is sent.
    pub(super) async fn checksum(
        &self,
        body: &Body,
        offset: u64,
        bytes: u64,
    ) -> Result<Option<String>, StoreError> {
        let sum = match (self.conduct.checksum, body) {
            (ChecksumMode::None, _) => return Ok(None),
            (ChecksumMode::Crc32c, Body::Bytes(all)) => {
                crc32c::crc32c(&all[offset as usize..(offset + bytes) as usize])
            }
            (ChecksumMode::Crc32c, Body::File { path, bytes: announced }) => {
                let (reading, announced) = (path.clone(), *announced);
                crate::blocking::spawn_blocking(move || checksum_of_file(&reading, offset, bytes))
                    .await
                    .map_err(|error| unreadable(path, io::Error::other(error)))?
                    .map_err(|error| match error.kind() {
                        io::ErrorKind::UnexpectedEof => changed(path, announced, offset),
                        _ => unreadable(path, error),
                    })?
            }
        };
        Ok(Some(base64::encode(sum.to_be_bytes())))
    }
}

/// The bytes `offset..offset + bytes` of a body. Out of a file they are streamed, at the pace of the link; those in
/// memory wait until they may go all together.
pub(super) async fn stream(body: &Body, offset: u64, bytes: u64) -> Result<ByteStream, StoreError> {
    let pace = Pace::current();
    match body {
        Body::Bytes(all) => {
            pace.moves(Direction::Up, bytes).await;
            Ok(ByteStream::from(all.slice(offset as usize..(offset + bytes) as usize)))
        }
        Body::File { path, .. } => {
            let paced = PacedBody::open(path, offset, bytes, pace).await;
            let paced = paced.map_err(|error| unreadable(path, error))?;
            Ok(ByteStream::new(SdkBody::from_body_1_x(paced)))
        }
    }
}

fn checksum_of_file(path: &Path, offset: u64, bytes: u64) -> io::Result<u32> {
    let file = File::open(path)?;
    let mut buffer = vec![0; bytes.min(CHECKSUM_READ_BYTES) as usize];
    let (mut sum, mut done) = (0, 0);
    while done < bytes {
        let piece = &mut buffer[..(bytes - done).min(CHECKSUM_READ_BYTES) as usize];
        file.read_exact_at(piece, offset + done)?;
        sum = crc32c::crc32c_append(sum, piece);
        done += piece.len() as u64;
    }
    Ok(sum)
}
