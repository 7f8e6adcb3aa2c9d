//! A port that belongs to one run alone.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpSocket;

/// A port on loopback that nobody else gets as long as this value lives, whether its owner listens there or is down.
///
/// It is held by a socket that never listens. Linux lets others bind beside it where both say `SO_REUSEADDR`, and takes our
/// word for it after the fact: servers say so, whoever looks for a port of its own does not.
#[derive(Debug)]
pub struct Port {
    address: SocketAddr,
    _held: TcpSocket,
}

impl Port {
    pub fn free() -> io::Result<Self> {
        Self::hold(0)
    }

    fn hold(port: u16) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
        socket.set_reuseaddr(true)?;
        Ok(Self { address: socket.local_addr()?, _held: socket })
    }

    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_port_of_a_server_that_is_down_is_not_given_to_another_run() {
        let port = Port::free().unwrap();
        let server = TcpListener::bind(port.address()).expect("its server gets it");
        drop(server);
        let other = Port::hold(port.address().port());
        assert_eq!(other.expect_err("it is held").kind(), ErrorKind::AddrInUse);
        TcpListener::bind(port.address()).expect("its server gets it again");
    }
}
