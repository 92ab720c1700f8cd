//! A client of the tests' own: one request at a time, everything that comes back is checked for its form.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

pub const READ: u16 = 0;
pub const WRITE: u16 = 1;
pub const FLUSH: u16 = 3;
pub const TRIM: u16 = 4;
pub const CACHE: u16 = 5;
pub const WRITE_ZEROES: u16 = 6;
pub const BLOCK_STATUS: u16 = 7;

pub const FUA: u16 = 1;
pub const NO_HOLE: u16 = 2;
pub const DF: u16 = 4;

/// A reply to an option: its type and data.
pub type OptionReply = (u32, Vec<u8>);

/// A client that has chosen a volume, or is about to.
pub struct Client<S = TcpStream> {
    pub stream: S,
    pub size: u64,
    pub flags: u16,
    pub structured: bool,
    cookie: u64,
}

/// What came back for a request.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// 0, or the number of the error.
    pub error: u32,
    /// Offsets and bytes of chunks of data.
    pub data: Vec<(u64, Vec<u8>)>,
    /// Ranges of chunks that are holes.
    pub holes: Vec<Range<u64>>,
    /// Lengths and states.
    pub stretches: Vec<(u32, u32)>,
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

impl Client {
    /// Connects and shakes hands; no option has been sent.
    pub async fn greet(address: SocketAddr) -> io::Result<Self> {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut hello = [0; 18];
        stream.read_exact(&mut hello).await?;
        if &hello[..16] != b"NBDMAGICIHAVEOPT" {
            return Err(wrong("greeting"));
        }
        stream.write_all(&3u32.to_be_bytes()).await?;
        Ok(Self::over(stream))
    }

    /// Connects and chooses a volume, with or without structured replies and block status.
    pub async fn open(address: SocketAddr, name: &str, structured: bool) -> io::Result<Self> {
        let mut client = Self::greet(address).await?;
        client.go(name, structured).await?;
        Ok(client)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// Over a stream on which hello was said.
    pub fn over(stream: S) -> Self {
        Self { stream, size: 0, flags: 0, structured: false, cookie: 0 }
    }

    /// Sends an option and gives its replies, the last of which is an acknowledgement or an error.
    pub async fn option(&mut self, number: u32, data: &[u8]) -> io::Result<Vec<OptionReply>> {
        let head =
            [&b"IHAVEOPT"[..], &number.to_be_bytes(), &(data.len() as u32).to_be_bytes(), data].concat();
        self.stream.write_all(&head).await?;
        let mut replies = Vec::new();
        loop {
            if self.stream.read_u64().await? != 0x0003_e889_0455_65a9
                || self.stream.read_u32().await? != number
            {
                return Err(wrong("option reply"));
            }
            let kind = self.stream.read_u32().await?;
            let mut data = vec![0; self.stream.read_u32().await? as usize];
            self.stream.read_exact(&mut data).await?;
            replies.push((kind, data));
            if kind == 1 || kind >= 1 << 31 {
                return Ok(replies);
            }
        }
    }

    /// Chooses a volume.
    pub async fn go(&mut self, name: &str, structured: bool) -> io::Result<()> {
        let text = |text: &str| [&(text.len() as u32).to_be_bytes()[..], text.as_bytes()].concat();
        if structured {
            self.option(8, &[]).await?;
            let query = [text(name), 1u32.to_be_bytes().to_vec(), text("base:allocation")].concat();
            self.option(10, &query).await?;
        }
        let replies = self.option(7, &[text(name), vec![0, 0]].concat()).await?;
        if replies.last().map(|(kind, _)| *kind) != Some(1) {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("{replies:?}")));
        }
        let export = replies.iter().find(|(kind, data)| *kind == 3 && data[..2] == [0, 0]);
        let (_, facts) = export.ok_or_else(|| wrong("no facts"))?;
        self.size = u64::from_be_bytes(facts[2..10].try_into().map_err(|_| wrong("size"))?);
        self.flags = u16::from_be_bytes(facts[10..12].try_into().map_err(|_| wrong("flags"))?);
        self.structured = structured;
        Ok(())
    }

    /// Sends a request.
    pub async fn send(
        &mut self,
        command: u16,
        flags: u16,
        offset: u64,
        length: u32,
        data: &[u8],
    ) -> io::Result<u64> {
        self.cookie += 1;
        let head = [
            &0x2560_9513u32.to_be_bytes()[..],
            &flags.to_be_bytes(),
            &command.to_be_bytes(),
            &self.cookie.to_be_bytes(),
            &offset.to_be_bytes(),
            &length.to_be_bytes(),
            data,
        ]
        .concat();
        self.stream.write_all(&head).await?;
        Ok(self.cookie)
    }

    /// The reply to the one request that is under way; `length` is what a simple reply with data has.
    pub async fn reply(&mut self, cookie: u64, length: usize) -> io::Result<Reply> {
        let mut reply = Reply::default();
        match self.stream.read_u32().await? {
            0x6744_6698 => {
                reply.error = self.stream.read_u32().await?;
                if self.stream.read_u64().await? != cookie {
                    return Err(wrong("cookie"));
                }
                if reply.error == 0 && length > 0 {
                    let mut data = vec![0; length];
                    self.stream.read_exact(&mut data).await?;
                    reply.data.push((0, data));
                }
                return Ok(reply);
            }
            0x668e_33ef if self.structured => {}
            _ => return Err(wrong("magic")),
        }
        loop {
            let flags = self.stream.read_u16().await?;
            let kind = self.stream.read_u16().await?;
            if self.stream.read_u64().await? != cookie {
                return Err(wrong("cookie"));
            }
            let mut data = vec![0; self.stream.read_u32().await? as usize];
            self.stream.read_exact(&mut data).await?;
            let number = |at: usize| u32::from_be_bytes([data[at], data[at + 1], data[at + 2], data[at + 3]]);
            let offset = |data: &[u8]| u64::from_be_bytes(data[..8].try_into().expect("eight bytes"));
            match kind {
                0 => {}
                1 => reply.data.push((offset(&data), data[8..].to_vec())),
                2 => reply.holes.push(offset(&data)..offset(&data) + u64::from(number(8))),
                5 => {
                    reply.stretches =
                        (4..data.len()).step_by(8).map(|at| (number(at), number(at + 4))).collect();
                }
                kind if kind >= 1 << 15 => reply.error = number(0),
                _ => return Err(wrong("chunk")),
            }
            if flags & 1 == 1 {
                return Ok(reply);
            }
            if self.stream.read_u32().await? != 0x668e_33ef {
                return Err(wrong("magic of a chunk"));
            }
        }
    }

    /// A request and its reply.
    pub async fn ask(
        &mut self,
        command: u16,
        flags: u16,
        offset: u64,
        length: u32,
        data: &[u8],
    ) -> io::Result<Reply> {
        let cookie = self.send(command, flags, offset, length, data).await?;
        let expected = if command == READ { length as usize } else { 0 };
        self.reply(cookie, expected).await
    }

    /// The bytes of a range; chunks of data and holes put together.
    pub async fn read(&mut self, range: Range<u64>) -> io::Result<Vec<u8>> {
        let length = (range.end - range.start) as usize;
        let reply = self.ask(READ, 0, range.start, length as u32, &[]).await?;
        if reply.error != 0 {
            return Err(io::Error::from_raw_os_error(reply.error.cast_signed()));
        }
        if !self.structured {
            return Ok(reply.data.into_iter().next().map(|(_, data)| data).unwrap_or_default());
        }
        let mut bytes = vec![0xaa; length];
        let mut filled = 0;
        for (offset, data) in &reply.data {
            let at = (offset - range.start) as usize;
            bytes[at..at + data.len()].copy_from_slice(data);
            filled += data.len();
        }
        for hole in &reply.holes {
            let at = (hole.start - range.start) as usize;
            let length = (hole.end - hole.start) as usize;
            bytes[at..at + length].fill(0);
            filled += length;
        }
        if filled == length { Ok(bytes) } else { Err(wrong("the chunks do not cover the range")) }
    }

    /// A request that must succeed.
    pub async fn done(
        &mut self,
        command: u16,
        flags: u16,
        offset: u64,
        length: u32,
        data: &[u8],
    ) -> io::Result<()> {
        match self.ask(command, flags, offset, length, data).await?.error {
            0 => Ok(()),
            error => Err(io::Error::from_raw_os_error(error.cast_signed())),
        }
    }

    pub async fn write(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.done(WRITE, 0, offset, data.len() as u32, data).await
    }

    pub async fn flush(&mut self) -> io::Result<()> {
        self.done(FLUSH, 0, 0, 0, &[]).await
    }
}
