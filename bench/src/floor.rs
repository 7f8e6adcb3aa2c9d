//! The floor: what the kernel alone costs. Answers handshakes with fixed bytes, parses nothing, and writes messages to
//! all sockets one by one, one `write` for each.
//!
//! Prints its address; `COUNT SIZE TIME` on its input writes that many messages of that many bytes, with that time in
//! them, to everybody.

use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::net;
use std::os::fd::OwnedFd;
use std::sync::{Arc, mpsc};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};

use crate::wire;

const LISTENER: Token = Token(usize::MAX);
const COMMAND: Token = Token(usize::MAX - 1);

const SWITCH: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const REPLY: &str = r#"{"id":1,"connect":{"client":"00000000-0000-0000-0000-000000000000","version":"floor","ping":25,"pong":true}}
{"id":2,"subscribe":{}}"#;

struct Floor {
    poll: Poll,
    listener: TcpListener,
    /// Sockets while they shake hands; `true` once they are upgraded.
    greeting: Vec<Option<(TcpStream, bool)>>,
    free: Vec<usize>,
    /// Sockets that messages are written to.
    members: Vec<net::TcpStream>,
    written: u64,
    reply: Vec<u8>,
}

pub fn run() -> anyhow::Result<()> {
    let poll = Poll::new()?;
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.bind(&net::SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    socket.listen(4096)?;
    socket.set_nonblocking(true)?;
    let mut listener = TcpListener::from_std(socket.into());
    println!("{}", listener.local_addr()?);
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let waker = Arc::new(Waker::new(poll.registry(), COMMAND)?);
    let (say, said) = mpsc::sync_channel(16);
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if say.send(line).is_err() || waker.wake().is_err() {
                break;
            }
        }
        std::process::exit(0);
    });
    let mut floor = Floor {
        poll,
        listener,
        greeting: Vec::new(),
        free: Vec::new(),
        members: Vec::new(),
        written: 0,
        reply: wire::server_text(REPLY.as_bytes()),
    };
    let mut events = Events::with_capacity(1024);
    loop {
        match floor.poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            match event.token() {
                LISTENER => floor.accept()?,
                COMMAND => said.try_iter().try_for_each(|line| floor.command(&line))?,
                Token(index) => floor.greet(index),
            }
        }
    }
}

impl Floor {
    fn accept(&mut self) -> io::Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            stream.set_nodelay(true)?;
            let index = self.free.pop().unwrap_or(self.greeting.len());
            self.poll.registry().register(&mut stream, Token(index), Interest::READABLE)?;
            if index == self.greeting.len() {
                self.greeting.push(Some((stream, false)));
            } else {
                self.greeting[index] = Some((stream, false));
            }
        }
    }

    fn greet(&mut self, index: usize) {
        let Some(Some((stream, upgraded))) = self.greeting.get_mut(index) else { return };
        let mut bytes = [0; 4096];
        loop {
            match stream.read(&mut bytes) {
                Ok(length) if length > 0 => {
                    let answer = if *upgraded { &self.reply[..] } else { SWITCH };
                    *upgraded = true;
                    if stream.write_all(answer).is_ok() {
                        continue;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                _ => {}
            }
            self.greeting[index] = None;
            self.free.push(index);
            return;
        }
    }

    fn command(&mut self, line: &str) -> anyhow::Result<()> {
        let mut words = line.split(' ').map(str::parse::<u64>);
        let (Some(Ok(count)), Some(Ok(size)), Some(Ok(time))) = (words.next(), words.next(), words.next()) else {
            anyhow::bail!("no command: {line}");
        };
        let size = usize::try_from(size)?;
        for (stream, _) in self.greeting.drain(..).flatten() {
            let stream = net::TcpStream::from(OwnedFd::from(stream));
            stream.set_nonblocking(false)?;
            self.members.push(stream);
        }
        for _ in 0..count {
            let around = r#"{"push":{"channel":"bench","pub":{"data":}}}"#.len();
            let data = wire::data(self.written, time, size.saturating_sub(around));
            let push = format!(r#"{{"push":{{"channel":"bench","pub":{{"data":{data}}}}}}}"#);
            let frame = wire::server_text(push.as_bytes());
            self.written += 1;
            for member in &mut self.members {
                member.write_all(&frame)?;
            }
        }
        Ok(())
    }
}
