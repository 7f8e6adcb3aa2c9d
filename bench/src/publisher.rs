//! A client that publishes, on a blocking socket of its own.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::ensure;

use crate::{hello, wire};

pub struct Publisher {
    stream: TcpStream,
    channel: String,
    published: u64,
}

impl Publisher {
    pub fn connect(server: SocketAddr, channel: &str) -> anyhow::Result<Self> {
        let mut stream = TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(&wire::upgrade_request(hello::CENTRIFUGE))?;
        let mut answer = [0; 4096];
        let length = stream.read(&mut answer)?;
        ensure!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer[..length]));
        stream.write_all(&wire::hello("publisher", &[])?)?;
        let length = stream.read(&mut answer)?;
        let connected = memchr::memmem::find(&answer[..length], b"\"connect\"").is_some();
        ensure!(connected, "{}", String::from_utf8_lossy(&answer[..length]));
        stream.set_nonblocking(true)?;
        Ok(Self { stream, channel: channel.to_owned(), published: 0 })
    }

    /// Publishes `count` messages of `size` bytes in one frame; `time` goes with them.
    pub fn publish(&mut self, count: u64, size: usize, time: u64) -> anyhow::Result<()> {
        let commands: Vec<_> = (0..count)
            .map(|_| {
                let number = self.published;
                self.published += 1;
                let data = wire::data(number, time, size);
                let channel = &self.channel;
                format!(r#"{{"id":{},"publish":{{"channel":"{channel}","data":{data}}}}}"#, number + 10)
            })
            .collect();
        self.drain()?;
        self.stream.set_nonblocking(false)?;
        self.stream.write_all(&wire::masked_text(commands.join("\n").as_bytes()))?;
        self.stream.set_nonblocking(true)?;
        Ok(())
    }

    /// Reads what the server has said so far.
    pub fn drain(&mut self) -> anyhow::Result<()> {
        let mut bytes = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => anyhow::bail!("the server closed the publisher's connection"),
                Ok(length) => {
                    let said = &bytes[..length];
                    let error = memchr::memmem::find(said, b"\"error\"").is_some();
                    ensure!(!error, "{}", String::from_utf8_lossy(said));
                    if memchr::memmem::find(said, b"\x81\x02{}").is_some() {
                        self.stream.set_nonblocking(false)?;
                        self.stream.write_all(&wire::masked_text(b"{}"))?;
                        self.stream.set_nonblocking(true)?;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}
