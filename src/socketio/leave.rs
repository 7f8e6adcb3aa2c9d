//! What backends ask of a connection, and what it is told when it has to go for good.

use std::sync::Arc;

use tracing::debug;

use super::Connection;
use super::connection::Socket;
use super::gone::Gone;
use crate::engineio::CloseReason;
use crate::hub::{Asker, Borne, Description, Order, Placement};
use crate::protocol::Channel;
use crate::protocol::socketio::{Body, Packet};
use crate::revocation::Token;
use crate::session::moment;

impl Connection {
    pub(super) async fn order(&mut self, order: &Arc<Order>) -> Result<(), CloseReason> {
        match &**order {
            Order::Subscribe(placement) => self.place(placement).await,
            Order::Unsubscribe(Some(channel)) => self.displace(|room| room == channel).await,
            Order::Unsubscribe(None) => self.displace(|_| true).await,
            // Clients of this protocol are not told: they come again with another token.
            Order::Refresh { expires_at, .. } => {
                let at = expires_at.map(moment);
                self.sockets.iter_mut().for_each(|socket| socket.expires_at = at);
                Ok(())
            }
            Order::Recheck => {
                self.recheck().await;
                Ok(())
            }
            Order::Describe(asker) => {
                self.describe(asker);
                Ok(())
            }
            Order::Dismiss(id) => {
                self.dismiss(|socket| socket.id == *id).await;
                Ok(())
            }
        }
    }

    async fn place(&mut self, placement: &Placement) -> Result<(), CloseReason> {
        let of = |socket: &Socket| {
            socket.namespace.rooms.as_ref().is_some_and(|rooms| *rooms.name == *placement.channel.namespace())
        };
        match self.sockets.iter().position(of) {
            Some(socket) => self.join(socket, &placement.channel).await,
            None => Ok(()),
        }
    }

    async fn displace(&mut self, leaves: impl Fn(&Channel) -> bool) -> Result<(), CloseReason> {
        for index in 0..self.sockets.len() {
            let rooms = &mut self.sockets[index].rooms;
            let left: Vec<_> = rooms.extract_if(.., |room| leaves(room.channel())).collect();
            let leaves = !left.is_empty();
            for room in left {
                Arc::clone(&self.shared).leave_room(&mut self.sockets[index], room).await;
            }
            if leaves {
                self.note_rooms(index).await?;
            }
        }
        Ok(())
    }

    fn describe(&self, Asker(asker): &Asker) {
        for socket in &self.sockets {
            let channels = socket.rooms.iter().map(|room| room.channel().clone()).collect();
            // Whoever asked may be gone; there is room for each.
            let _ = asker.try_send(Description { client: socket.id, channels });
        }
    }

    /// Ends what came with tokens that are revoked now.
    pub(super) async fn recheck(&mut self) {
        let revocations = Arc::clone(&self.shared.services.revocations);
        self.dismiss(|socket| {
            let token = Token { id: socket.borne.as_ref().map(Borne::id), issued_at: socket.issued_at };
            let revoked = revocations.refuses(&token, &socket.user, "");
            if revoked {
                debug!(socket = %socket.id, "its token was revoked");
            }
            revoked
        })
        .await;
    }

    /// Sends sockets away for good.
    async fn dismiss(&mut self, goes: impl Fn(&Socket) -> bool) {
        let (gone, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut self.sockets).into_iter().partition(goes);
        self.sockets = kept;
        for socket in gone {
            self.kick(&socket.namespace.name);
            Arc::clone(&self.shared).depart(socket, &Gone::ByServer).await;
        }
    }

    /// Clients come again after whatever ends their connection, unless they are told this before.
    pub(super) fn say_goodbye(&self, reason: &CloseReason) {
        if matches!(reason, CloseReason::Forced(disconnect) if !disconnect.reconnect()) {
            self.sockets.iter().for_each(|socket| self.kick(&socket.namespace.name));
        }
    }

    fn kick(&self, namespace: &str) {
        self.send(&Packet { namespace: namespace.to_owned().into(), body: Body::Disconnect });
    }
}
