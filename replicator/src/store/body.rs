//! Reading what is to be put, wholly or in pieces, wherever it lies.
//!
//! A [`Body::File`] must not change while it is stored: a length that differs from what was announced
//! is an error, never a shorter object.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;

use super::{Body, ErrorKind, StoreError};

/// All bytes of a body. Only for bodies that fit in memory.
pub(super) async fn read_whole(body: Body) -> Result<Bytes, StoreError> {
    let bytes = body.len();
    check_length(&body).await?;
    read_piece(body, 0, bytes).await
}

/// The bytes `offset..offset + bytes` of a body; it must have them.
pub(super) async fn read_piece(body: Body, offset: u64, bytes: u64) -> Result<Bytes, StoreError> {
    match body {
        Body::Bytes(all) => Ok(all.slice(offset as usize..(offset + bytes) as usize)),
        Body::File { path, .. } => {
            let reading = path.clone();
            crate::blocking::spawn_blocking(move || read_file_piece(&reading, offset, bytes))
                .await
                .map_err(|error| unreadable(&path, io::Error::other(error)))?
                .map_err(|error| unreadable(&path, error))
        }
    }
}

/// Refuses a file whose length is not the announced one.
pub(super) async fn check_length(body: &Body) -> Result<(), StoreError> {
    let Body::File { path, bytes } = body else { return Ok(()) };
    let found = tokio::fs::metadata(path).await.map_err(|error| unreadable(path, error))?.len();
    if found == *bytes { Ok(()) } else { Err(changed(path, *bytes, found)) }
}

/// The error for a local file that cannot be read. It is not [`ErrorKind::Missing`], which speaks of
/// objects.
pub(super) fn unreadable(path: &Path, error: io::Error) -> StoreError {
    StoreError::new(ErrorKind::Invalid, format!("read the local file {}", path.display())).caused_by(error)
}

/// The error for a local file that does not have the announced length.
pub(super) fn changed(path: &Path, announced: u64, found: u64) -> StoreError {
    StoreError::new(ErrorKind::Invalid, format!("store the local file {}", path.display()))
        .caused_by(format!("it was to have {announced} bytes and has {found}"))
}

fn read_file_piece(path: &Path, offset: u64, bytes: u64) -> io::Result<Bytes> {
    let mut buffer = vec![0; bytes as usize];
    File::open(path)?.read_exact_at(&mut buffer, offset)?;
    Ok(buffer.into())
}
