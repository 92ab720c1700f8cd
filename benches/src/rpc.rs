//! Sun RPC over one TCP connection, with many calls on their way at once.
//!
//! Blocking, one thread a connection: a load generator that costs little beside what it loads. Calls
//! are encoded by `nfs3_types`, which shares no code with the server. No reply may be longer than
//! [`REPLY_BYTES_MAX`].

use std::collections::VecDeque;
use std::io::{self, BufReader, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::Bytes;

use nfs3_types::rpc::{auth_unix, call_body, msg_body, opaque_auth, rpc_msg};
use nfs3_types::xdr_codec::{Opaque, Pack, Unpack};
use nfs3_types::{mount, nfs3};

use crate::Outcome;

/// The longest reply that is taken, in bytes.
pub const REPLY_BYTES_MAX: usize = 2 << 20;
/// A server that says nothing for so long has failed.
const PATIENCE: Duration = Duration::from_mins(1);
/// The header of an accepted reply: xid, REPLY, MSG_ACCEPTED, an empty verifier, SUCCESS.
const REPLY_HEADER_BYTES: usize = 24;

/// Bits of a transaction id that say which of the calls on their way it is; the others count, since some
/// servers take a call with an earlier one's id for its repetition, and never answer it.
const SLOT_BITS: u32 = 12;
/// The slot of a call that goes alone.
const ALONE: u32 = (1 << SLOT_BITS) - 1;

/// Parts that leave with one system call.
const SLICES_MAX: usize = 64;

/// Data that is written: many calls may share it.
pub type Payload = Bytes;

/// A procedure of NFS with its encoded arguments.
pub struct Call {
    procedure: u32,
    arguments: Vec<u8>,
    /// What follows them, unless it is empty.
    payload: Payload,
}

impl Call {
    /// A call of this procedure.
    pub fn new(procedure: u32, arguments: &impl Pack) -> Outcome<Self> {
        let mut encoded = Vec::with_capacity(arguments.packed_size());
        arguments.pack(&mut encoded)?;
        Ok(Self { procedure, arguments: encoded, payload: Payload::new() })
    }

    /// A call whose last argument, data of no bytes in `arguments`, is `payload`. It is not copied, so
    /// that the generator costs little; its length is a multiple of four.
    pub fn with_payload(procedure: u32, arguments: &impl Pack, payload: Payload) -> Outcome<Self> {
        if !payload.len().is_multiple_of(4) {
            return Err("data that would need padding".into());
        }
        let mut call = Self::new(procedure, arguments)?;
        let length = call.arguments.last_chunk_mut::<4>().ok_or("a call without data")?;
        *length = (payload.len() as u32).to_be_bytes();
        Ok(Self { payload, ..call })
    }
}

/// One connection, as root.
pub struct Connection {
    stream: TcpStream,
    replies: BufReader<TcpStream>,
    credential: opaque_auth<'static>,
    /// What leaves next; what is still added to comes last, in `open`.
    out: VecDeque<Bytes>,
    open: Vec<u8>,
    reply: Vec<u8>,
    /// Calls so far.
    calls: u32,
}

impl Connection {
    /// Connects.
    pub fn open(address: SocketAddr) -> Outcome<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let machinename = Opaque::owned(b"bench".to_vec());
        let root = auth_unix { stamp: 0, machinename, uid: 0, gid: 0, gids: Vec::new() };
        let replies = BufReader::with_capacity(64 << 10, stream.try_clone()?);
        Ok(Self {
            stream,
            replies,
            credential: opaque_auth::auth_unix(&root),
            out: VecDeque::new(),
            open: Vec::new(),
            reply: Vec::new(),
            calls: 0,
        })
    }

    /// Queues a call of NFS under a number, of twelve bits, that no other call on its way has.
    pub fn queue(&mut self, number: u32, call: &Call) -> Outcome<()> {
        self.encode(number, (nfs3::PROGRAM, nfs3::VERSION), call)
    }

    /// Sends what was queued.
    pub fn send(&mut self) -> Outcome<()> {
        self.close_part();
        while !self.out.is_empty() {
            let slices: Vec<_> = self.out.iter().take(SLICES_MAX).map(|part| IoSlice::new(part)).collect();
            match self.stream.write_vectored(&slices) {
                Ok(0) => return Err("a connection takes nothing more".into()),
                Ok(written) => self.sent(written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn sent(&mut self, mut bytes: usize) {
        while let Some(part) = self.out.front_mut() {
            if part.len() > bytes {
                drop(part.split_to(bytes));
                return;
            }
            bytes -= part.len();
            self.out.pop_front();
        }
    }

    fn close_part(&mut self) {
        if !self.open.is_empty() {
            self.out.push_back(Bytes::from(std::mem::take(&mut self.open)));
        }
    }

    /// Waits for a reply; answers its number and its body.
    pub fn receive(&mut self) -> Outcome<(u32, &[u8])> {
        let mut mark = [0; 4];
        self.replies.read_exact(&mut mark)?;
        let mark = u32::from_be_bytes(mark);
        let bytes = (mark & 0x7fff_ffff) as usize;
        if mark & 0x8000_0000 == 0 || !(REPLY_HEADER_BYTES..=REPLY_BYTES_MAX).contains(&bytes) {
            return Err(format!("a reply in pieces, or of {bytes} bytes").into());
        }
        self.reply.resize(bytes, 0);
        self.replies.read_exact(&mut self.reply)?;
        let word = |at: usize| u32::from_be_bytes([0, 1, 2, 3].map(|byte| self.reply[4 * at + byte]));
        if [word(1), word(2), word(4), word(5)] != [1, 0, 0, 0] {
            return Err("a call was not accepted".into());
        }
        Ok((word(0) & ALONE, &self.reply[REPLY_HEADER_BYTES..]))
    }

    /// Whether a reply, or a part of one, has come already.
    pub fn has_more(&self) -> bool {
        !self.replies.buffer().is_empty()
    }

    /// One call of NFS while no other is on its way, and the body of its answer.
    pub fn exchange_one(&mut self, call: &Call) -> Outcome<&[u8]> {
        self.queue(ALONE, call)?;
        self.send()?;
        Ok(self.receive()?.1)
    }

    /// The handle of an export, by way of the MOUNT protocol, which this port must speak too.
    pub fn mount(&mut self, export: &str) -> Outcome<nfs3::nfs_fh3> {
        let path = mount::dirpath(Opaque::owned(export.as_bytes().to_vec()));
        let call = Call::new(mount::MOUNT_PROGRAM::MOUNTPROC3_MNT as u32, &path)?;
        self.encode(ALONE, (mount::PROGRAM, mount::VERSION), &call)?;
        self.send()?;
        match mount::mountres3::unpack(&mut io::Cursor::new(self.receive()?.1))?.0 {
            mount::mountres3::Ok(found) => {
                Ok(nfs3::nfs_fh3 { data: Opaque::owned(found.fhandle.0.to_vec()) })
            }
            mount::mountres3::Err(status) => Err(format!("{export} cannot be mounted: {status:?}").into()),
        }
    }

    fn encode(&mut self, number: u32, (prog, vers): (u32, u32), call: &Call) -> Outcome<()> {
        let body = call_body {
            rpcvers: nfs3_types::rpc::RPC_VERSION_2,
            prog,
            vers,
            proc: call.procedure,
            cred: self.credential.borrow(),
            verf: opaque_auth::default(),
        };
        let xid = (self.calls << SLOT_BITS) | (number & ALONE);
        self.calls = self.calls.wrapping_add(1);
        let message = rpc_msg { xid, body: msg_body::CALL(body) };
        let bytes = message.packed_size() + call.arguments.len() + call.payload.len();
        self.open.extend_from_slice(&(0x8000_0000 | bytes as u32).to_be_bytes());
        message.pack(&mut self.open)?;
        self.open.extend_from_slice(&call.arguments);
        if !call.payload.is_empty() {
            self.close_part();
            self.out.push_back(call.payload.clone());
        }
        Ok(())
    }
}
