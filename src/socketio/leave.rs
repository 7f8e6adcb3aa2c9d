//! What backends ask of a connection, and what it is told when it has to go for good.

use std::sync::Arc;

use tracing::debug;

use super::Connection;
use super::connection::Socket;
use super::gone::Gone;
use crate::engineio::CloseReason;
use crate::hub::{Asker, Borne, Control, Description, Errand, Order, Placement};
use crate::protocol::Channel;
use crate::protocol::socketio::{Body, Packet};
use crate::revocation::Token;
use crate::session::moment;

impl Connection {
    pub(super) async fn order(&mut self, order: &Arc<Order>) -> Result<(), CloseReason> {
        match &**order {
            Order::Client(client, errand) => match self.sockets.iter().position(|socket| socket.id == *client) {
                Some(index) => self.run_errand(index, errand).await,
                // It has gone meanwhile.
                None => Ok(()),
            },
            Order::Recheck => {
                self.recheck().await;
                Ok(())
            }
            Order::Describe(asker) => {
                self.describe(asker);
                Ok(())
            }
        }
    }

    /// Does what a backend wants of one socket, and of no other on the connection.
    async fn run_errand(&mut self, index: usize, errand: &Errand) -> Result<(), CloseReason> {
        match errand {
            Errand::Subscribe(placement) => return self.place(index, placement).await,
            Errand::Unsubscribe(Some(channel)) => return self.displace(index, |room| room == channel).await,
            Errand::Unsubscribe(None) => return self.displace(index, |_| true).await,
            // Clients of this protocol are not told: they come again with another token.
            Errand::Refresh { expires_at, .. } => self.sockets[index].expires_at = expires_at.map(moment),
            Errand::Dismiss => self.dismiss_one(index).await,
            // Who is to come again does so only when the connection ends.
            Errand::Disconnect(disconnect) if !disconnect.reconnect() && self.sockets.len() > 1 => {
                self.dismiss_one(index).await;
            }
            Errand::Disconnect(disconnect) => self.outbox.request(Control::Close(disconnect.clone())),
        }
        Ok(())
    }

    async fn place(&mut self, index: usize, placement: &Placement) -> Result<(), CloseReason> {
        let channel = &placement.channel;
        let rooms = self.sockets[index].namespace.rooms.as_ref();
        match rooms.is_some_and(|rooms| *rooms.name == *channel.namespace()) {
            true => self.join(index, channel, placement.expires_at.map(moment)).await,
            false => Ok(()),
        }
    }

    async fn displace(&mut self, index: usize, leaves: impl Fn(&Channel) -> bool) -> Result<(), CloseReason> {
        let rooms = &mut self.sockets[index].rooms;
        let left: Vec<_> = rooms.extract_if(.., |room| leaves(room.channel())).collect();
        if left.is_empty() {
            return Ok(());
        }
        for room in left {
            Arc::clone(&self.shared).leave_room(&mut self.sockets[index], room).await;
        }
        self.note_rooms(index).await
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

    async fn dismiss_one(&mut self, index: usize) {
        let id = self.sockets[index].id;
        self.dismiss(|socket| socket.id == id).await;
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
