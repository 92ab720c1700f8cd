//! Sun RPC over one TCP connection, with many calls on their way at once.
//!
//! Blocking, one thread a connection: a load generator that costs little beside what it loads. Calls
//! are encoded by `nfs3_types`, which shares no code with the server. No reply may be longer than
//! [`REPLY_BYTES_MAX`].

use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

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

/// A procedure of NFS with its encoded arguments.
pub struct Call {
    procedure: u32,
    arguments: Vec<u8>,
}

impl Call {
    /// A call of this procedure.
    pub fn new(procedure: u32, arguments: &impl Pack) -> Outcome<Self> {
        let mut encoded = Vec::with_capacity(arguments.packed_size());
        arguments.pack(&mut encoded)?;
        Ok(Self { procedure, arguments: encoded })
    }
}

/// One connection, as root.
pub struct Connection {
    stream: TcpStream,
    replies: BufReader<TcpStream>,
    credential: opaque_auth<'static>,
    out: Vec<u8>,
    reply: Vec<u8>,
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
            out: Vec::new(),
            reply: Vec::new(),
        })
    }

    /// Queues a call of NFS under a number that no other call on its way has.
    pub fn queue(&mut self, xid: u32, call: &Call) -> Outcome<()> {
        self.encode(xid, (nfs3::PROGRAM, nfs3::VERSION), call)
    }

    /// Sends what was queued.
    pub fn send(&mut self) -> Outcome<()> {
        self.stream.write_all(&self.out)?;
        self.out.clear();
        Ok(())
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
        Ok((word(0), &self.reply[REPLY_HEADER_BYTES..]))
    }

    /// Whether a reply, or a part of one, has come already.
    pub fn has_more(&self) -> bool {
        !self.replies.buffer().is_empty()
    }

    /// One call of NFS, and its decoded answer.
    pub fn call<R: Unpack>(&mut self, procedure: nfs3::NFS_PROGRAM, arguments: &impl Pack) -> Outcome<R> {
        let call = Call::new(procedure as u32, arguments)?;
        self.exchange((nfs3::PROGRAM, nfs3::VERSION), &call)
    }

    /// The handle of an export, by way of the MOUNT protocol, which this port must speak too.
    pub fn mount(&mut self, export: &str) -> Outcome<nfs3::nfs_fh3> {
        let path = mount::dirpath(Opaque::owned(export.as_bytes().to_vec()));
        let call = Call::new(mount::MOUNT_PROGRAM::MOUNTPROC3_MNT as u32, &path)?;
        match self.exchange((mount::PROGRAM, mount::VERSION), &call)? {
            mount::mountres3::Ok(found) => {
                Ok(nfs3::nfs_fh3 { data: Opaque::owned(found.fhandle.0.to_vec()) })
            }
            mount::mountres3::Err(status) => Err(format!("{export} cannot be mounted: {status:?}").into()),
        }
    }

    fn exchange<R: Unpack>(&mut self, program: (u32, u32), call: &Call) -> Outcome<R> {
        self.encode(u32::MAX, program, call)?;
        self.send()?;
        let (_, body) = self.receive()?;
        Ok(R::unpack(&mut std::io::Cursor::new(body))?.0)
    }

    fn encode(&mut self, xid: u32, (prog, vers): (u32, u32), call: &Call) -> Outcome<()> {
        let body = call_body {
            rpcvers: nfs3_types::rpc::RPC_VERSION_2,
            prog,
            vers,
            proc: call.procedure,
            cred: self.credential.borrow(),
            verf: opaque_auth::default(),
        };
        let message = rpc_msg { xid, body: msg_body::CALL(body) };
        let bytes = message.packed_size() + call.arguments.len();
        self.out.extend_from_slice(&(0x8000_0000 | bytes as u32).to_be_bytes());
        message.pack(&mut self.out)?;
        self.out.extend_from_slice(&call.arguments);
        Ok(())
    }
}
