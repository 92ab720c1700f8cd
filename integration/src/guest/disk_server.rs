//! Serves a [`Disk`] to QEMU: the few messages of the NBD protocol that QEMU sends.
//!
//! One client at a time, on a Unix socket; fixed newstyle negotiation, simple replies, numbers big-endian.
//! Only reads, writes and flushes: what is not offered (FUA, trimming), QEMU builds from those or leaves.

use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use super::disk::Disk;

const GREETING: &[u8; 16] = b"NBDMAGICIHAVEOPT";
const OPTION_MAGIC: &[u8; 8] = b"IHAVEOPT";
const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
const REQUEST_MAGIC: u32 = 0x2560_9513;
const REPLY_MAGIC: u32 = 0x6744_6698;

/// Fixed newstyle, and no zeroes after the export.
const HANDSHAKE_FLAGS: u16 = 1 | 2;
/// The flags are valid, and flushes are understood.
const EXPORT_FLAGS: u16 = 1 | 4;

const OPTION_GO: u32 = 7;
const REPLY_ACKNOWLEDGE: u32 = 1;
const REPLY_INFORMATION: u32 = 3;
const REPLY_UNSUPPORTED: u32 = 0x8000_0001;

const COMMAND_READ: u16 = 0;
const COMMAND_WRITE: u16 = 1;
const COMMAND_DISCONNECT: u16 = 2;
const COMMAND_FLUSH: u16 = 3;

const ERROR_INPUT_OUTPUT: u32 = 5;
const ERROR_INVALID: u32 = 22;

/// The longest request or option, in bytes: what QEMU cuts requests to.
const LENGTH_MAX: u32 = 32 << 20;

/// A disk on its way through a life of a guest.
#[derive(Debug)]
pub struct DiskServer {
    socket: PathBuf,
    thread: JoinHandle<Disk>,
}

impl DiskServer {
    /// Waits for a guest at `socket`, and serves the disk to it until it is gone.
    pub fn start(disk: Disk, socket: &Path) -> io::Result<Self> {
        match std::fs::remove_file(socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(socket)?;
        let thread = std::thread::spawn(move || serve(disk, &listener));
        Ok(Self { socket: socket.to_path_buf(), thread })
    }

    /// Where it serves.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The disk, once its guest is gone.
    pub fn join(self) -> Disk {
        // Where the guest never came, this is the client that it waits for.
        drop(UnixStream::connect(&self.socket));
        self.thread.join().expect("the server of a disk does not panic")
    }
}

fn serve(mut disk: Disk, listener: &UnixListener) -> Disk {
    if let Ok((stream, _)) = listener.accept() {
        // An error is the end of the connection: a guest that is killed says no good-bye.
        let _ended = Connection { stream, disk: &mut disk }.run();
    }
    disk
}

struct Connection<'disk> {
    stream: UnixStream,
    disk: &'disk mut Disk,
}

impl Connection<'_> {
    fn run(&mut self) -> io::Result<()> {
        self.stream.write_all(GREETING)?;
        self.stream.write_all(&HANDSHAKE_FLAGS.to_be_bytes())?;
        self.number()?;
        while !self.option()? {}
        while self.request()? {}
        Ok(())
    }

    /// Answers one option; true when the transmission begins.
    fn option(&mut self) -> io::Result<bool> {
        let magic: [u8; 8] = self.array()?;
        if magic != *OPTION_MAGIC {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let option = self.number()?;
        let length = self.number()?;
        self.data(length)?;
        if option != OPTION_GO {
            self.answer_option(option, REPLY_UNSUPPORTED, &[])?;
            return Ok(false);
        }
        let mut information = vec![0, 0];
        information.extend_from_slice(&self.disk.bytes().to_be_bytes());
        information.extend_from_slice(&EXPORT_FLAGS.to_be_bytes());
        self.answer_option(option, REPLY_INFORMATION, &information)?;
        self.answer_option(option, REPLY_ACKNOWLEDGE, &[])?;
        Ok(true)
    }

    fn answer_option(&mut self, option: u32, kind: u32, data: &[u8]) -> io::Result<()> {
        let mut answer = OPTION_REPLY_MAGIC.to_be_bytes().to_vec();
        answer.extend_from_slice(&option.to_be_bytes());
        answer.extend_from_slice(&kind.to_be_bytes());
        answer.extend_from_slice(&(data.len() as u32).to_be_bytes());
        answer.extend_from_slice(data);
        self.stream.write_all(&answer)
    }

    /// Carries out one request; false when the client takes its leave.
    fn request(&mut self) -> io::Result<bool> {
        if self.number()? != REQUEST_MAGIC {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let _flags: [u8; 2] = self.array()?;
        let command = u16::from_be_bytes(self.array()?);
        let cookie: [u8; 8] = self.array()?;
        let offset = u64::from_be_bytes(self.array()?);
        let length = self.number()?;
        let mut answered = Vec::new();
        let done = match command {
            COMMAND_READ => {
                answered = vec![0; checked(length)?];
                self.disk.read(offset, &mut answered).map_err(|_| ERROR_INPUT_OUTPUT)
            }
            COMMAND_WRITE => {
                let data = self.data(length)?;
                self.disk.write(offset, data).map_err(|_| ERROR_INPUT_OUTPUT)
            }
            COMMAND_FLUSH => {
                self.disk.flush();
                Ok(())
            }
            COMMAND_DISCONNECT => return Ok(false),
            _ => Err(ERROR_INVALID),
        };
        let mut answer = REPLY_MAGIC.to_be_bytes().to_vec();
        answer.extend_from_slice(&done.err().unwrap_or(0).to_be_bytes());
        answer.extend_from_slice(&cookie);
        if done.is_ok() {
            answer.append(&mut answered);
        }
        self.stream.write_all(&answer)?;
        Ok(true)
    }

    fn data(&mut self, length: u32) -> io::Result<Vec<u8>> {
        let mut data = vec![0; checked(length)?];
        self.stream.read_exact(&mut data)?;
        Ok(data)
    }

    fn number(&mut self) -> io::Result<u32> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    fn array<const LENGTH: usize>(&mut self) -> io::Result<[u8; LENGTH]> {
        let mut bytes = [0; LENGTH];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

fn checked(length: u32) -> io::Result<usize> {
    if length > LENGTH_MAX { Err(io::ErrorKind::InvalidData.into()) } else { Ok(length as usize) }
}
