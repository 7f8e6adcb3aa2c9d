//! What operators who watch see of sockets.

use super::SocketIo;
use super::connection::Socket;
use crate::watch::What;

impl SocketIo {
    /// Tells who watches what happens to a socket. While nobody watches it costs a look at a flag.
    pub(super) fn seen(&self, socket: &Socket, what: impl FnOnce() -> What) {
        let watch = &self.services.watch;
        if watch.is_on() {
            watch.saw(&socket.user, socket.id, what());
        }
    }
}
