//! The calls of NFS version 3 that loads are made of, and what a client reads out of their answers.

use std::io::Cursor;

use nfs3_types::nfs3::{
    COMMIT3args, CREATE3args, CREATE3res, GETATTR3args, LOOKUP3args, LOOKUP3res, MKDIR3args, MKDIR3res,
    NFS_PROGRAM, Nfs3Option, Nfs3Result, READ3args, READDIR3args, READDIR3res, READDIRPLUS3args,
    READDIRPLUS3res, REMOVE3args, WRITE3args, WRITE3res, cookieverf3, createhow3, diropargs3, nfs_fh3,
    sattr3, stable_how,
};
use nfs3_types::xdr_codec::{Opaque, Unpack, Void};

use crate::rpc::{Call, Payload};
use crate::{Connection, Outcome};

/// What a page of a listing may take, in bytes: what the Linux client asks for, of a server that
/// prefers 64 KiB.
const PAGE_BYTES: u32 = 64 << 10;

/// A call that does nothing.
pub fn null() -> Outcome<Call> {
    Call::new(NFS_PROGRAM::NFSPROC3_NULL as u32, &Void)
}

/// Asks for attributes.
pub fn getattr(file: &nfs_fh3) -> Outcome<Call> {
    Call::new(NFS_PROGRAM::NFSPROC3_GETATTR as u32, &GETATTR3args { object: file.clone() })
}

/// Looks a name up.
pub fn lookup(directory: &nfs_fh3, name: &str) -> Outcome<Call> {
    Call::new(NFS_PROGRAM::NFSPROC3_LOOKUP as u32, &LOOKUP3args { what: at(directory, name) })
}

/// Makes a file, or finds one that is there.
pub fn create(directory: &nfs_fh3, name: &str) -> Outcome<Call> {
    let arguments = CREATE3args { where_: at(directory, name), how: createhow3::UNCHECKED(mode(0o644)) };
    Call::new(NFS_PROGRAM::NFSPROC3_CREATE as u32, &arguments)
}

/// Removes a file.
pub fn remove(directory: &nfs_fh3, name: &str) -> Outcome<Call> {
    Call::new(NFS_PROGRAM::NFSPROC3_REMOVE as u32, &REMOVE3args { object: at(directory, name) })
}

/// Writes; the data goes out from where it lies.
pub fn write(file: &nfs_fh3, offset: u64, data: &Payload, stable: stable_how) -> Outcome<Call> {
    let count = data.len() as u32;
    let data_apart = WRITE3args { file: file.clone(), offset, count, stable, data: Opaque::borrowed(&[]) };
    Call::with_payload(NFS_PROGRAM::NFSPROC3_WRITE as u32, &data_apart, data.clone())
}

/// Asks for what was written to be made durable.
pub fn commit(file: &nfs_fh3) -> Outcome<Call> {
    let arguments = COMMIT3args { file: file.clone(), offset: 0, count: 0 };
    Call::new(NFS_PROGRAM::NFSPROC3_COMMIT as u32, &arguments)
}

/// Reads.
pub fn read(file: &nfs_fh3, offset: u64, bytes: usize) -> Outcome<Call> {
    let arguments = READ3args { file: file.clone(), offset, count: bytes as u32 };
    Call::new(NFS_PROGRAM::NFSPROC3_READ as u32, &arguments)
}

/// Where a listing goes on: the cookie and the verifier of its last page.
pub type Place = (u64, [u8; 8]);

/// What a listing asks for besides names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// READDIR: inode numbers.
    Names,
    /// READDIRPLUS: attributes and handles too.
    Objects,
}

/// Lists a directory, from a place on.
pub fn list(listing: Listing, directory: &nfs_fh3, (cookie, verifier): Place) -> Outcome<Call> {
    let (dir, cookieverf) = (directory.clone(), cookieverf3(verifier));
    match listing {
        Listing::Names => {
            let arguments = READDIR3args { dir, cookie, cookieverf, count: PAGE_BYTES };
            Call::new(NFS_PROGRAM::NFSPROC3_READDIR as u32, &arguments)
        }
        Listing::Objects => {
            let (dircount, maxcount) = (PAGE_BYTES, PAGE_BYTES);
            let arguments = READDIRPLUS3args { dir, cookie, cookieverf, dircount, maxcount };
            Call::new(NFS_PROGRAM::NFSPROC3_READDIRPLUS as u32, &arguments)
        }
    }
}

/// Shows each name of a page, and answers where the next begins, if there is one.
pub fn listed(listing: Listing, body: &[u8], mut each: impl FnMut(&[u8])) -> Outcome<Option<Place>> {
    const REFUSED: &str = "a directory cannot be listed";
    let (last, verifier, end) = match listing {
        Listing::Names => {
            let page = READDIR3res::unpack(&mut Cursor::new(body))?.0;
            let Nfs3Result::Ok(page) = page else { return Err(REFUSED.into()) };
            let entries = page.reply.entries.into_inner();
            for entry in &entries {
                each(&entry.name.0);
            }
            (entries.last().map(|entry| entry.cookie), page.cookieverf, page.reply.eof)
        }
        Listing::Objects => {
            let page = READDIRPLUS3res::unpack(&mut Cursor::new(body))?.0;
            let Nfs3Result::Ok(page) = page else { return Err(REFUSED.into()) };
            let entries = page.reply.entries.into_inner();
            for entry in &entries {
                each(&entry.name.0);
            }
            (entries.last().map(|entry| entry.cookie), page.cookieverf, page.reply.eof)
        }
    };
    match last {
        _ if end => Ok(None),
        Some(cookie) => Ok(Some((cookie, verifier.0))),
        None => Err("a page without entries that is not the last".into()),
    }
}

/// The handle in the answer to a CREATE.
pub fn created(body: &[u8]) -> Outcome<nfs_fh3> {
    let Nfs3Result::Ok(made) = CREATE3res::unpack(&mut Cursor::new(body))?.0 else {
        return Err("a file cannot be made".into());
    };
    handle(made.obj)
}

/// The handle in the answer to a LOOKUP.
pub fn found(body: &[u8]) -> Outcome<nfs_fh3> {
    match LOOKUP3res::unpack(&mut Cursor::new(body))?.0 {
        Nfs3Result::Ok(found) => Ok(found.object),
        Nfs3Result::Err(_) => Err("a name cannot be found".into()),
    }
}

/// Whether the answer to a WRITE leaves it to the client to COMMIT.
pub fn is_to_commit(body: &[u8]) -> Outcome<bool> {
    match WRITE3res::unpack(&mut Cursor::new(body))?.0 {
        Nfs3Result::Ok(written) => Ok(written.committed != stable_how::FILE_SYNC),
        Nfs3Result::Err(_) => Err("a write was refused".into()),
    }
}

/// Makes a file now.
pub fn create_now(connection: &mut Connection, directory: &nfs_fh3, name: &str) -> Outcome<nfs_fh3> {
    created(connection.exchange_one(&create(directory, name)?)?)
}

/// Makes a directory now.
pub fn make_directory(connection: &mut Connection, parent: &nfs_fh3, name: &str) -> Outcome<nfs_fh3> {
    let arguments = MKDIR3args { where_: at(parent, name), attributes: mode(0o755) };
    let call = Call::new(NFS_PROGRAM::NFSPROC3_MKDIR as u32, &arguments)?;
    let Nfs3Result::Ok(made) = MKDIR3res::unpack(&mut Cursor::new(connection.exchange_one(&call)?))?.0 else {
        return Err("a directory cannot be made".into());
    };
    handle(made.obj)
}

/// Whether a call was refused for now, with JUKEBOX: a client asks again.
pub fn is_for_later(body: &[u8]) -> bool {
    body.first_chunk() == Some(&10_008_u32.to_be_bytes())
}

/// Every answer but that of NULL begins with a status.
pub fn check(body: &[u8]) -> Outcome<()> {
    match body.first_chunk::<4>() {
        Some([0, 0, 0, 0]) => Ok(()),
        status => Err(format!("a call was refused with status {status:?}").into()),
    }
}

fn handle(found: Nfs3Option<nfs_fh3>) -> Outcome<nfs_fh3> {
    match found {
        Nfs3Option::Some(handle) => Ok(handle),
        Nfs3Option::None => Err("what was made has no handle".into()),
    }
}

fn at(directory: &nfs_fh3, name: &str) -> diropargs3<'static> {
    diropargs3 { dir: directory.clone(), name: name.as_bytes().to_vec().into() }
}

fn mode(mode: u32) -> sattr3 {
    sattr3 { mode: Nfs3Option::Some(mode), ..sattr3::default() }
}
