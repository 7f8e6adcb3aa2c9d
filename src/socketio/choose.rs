//! Clients that choose their rooms, where rules let them.

use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Connection, rooms};
use crate::engineio::CloseReason;
use crate::protocol::Channel;
use crate::protocol::socketio::{Arguments, Body, Packet, RoomRule};
use crate::session::is_open_to;
use crate::telemetry::EventResult;

/// What an event means to rooms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Join,
    Leave,
}

impl Connection {
    /// What an event of this name asks for, where the namespace has it so.
    pub(super) fn wish(&self, socket: usize, event: &str) -> Option<Wish> {
        let namespace = &self.sockets[socket].namespace;
        let is = |name: &Option<String>| name.as_deref() == Some(event);
        match (is(&namespace.join_on), is(&namespace.leave_on)) {
            (true, _) => Some(Wish::Join),
            (false, true) => Some(Wish::Leave),
            (false, false) => None,
        }
    }

    /// Does what the client wishes with the room that it names. It is acknowledged once that is done, and not at all where it
    /// may not.
    pub(super) async fn choose(
        &mut self,
        socket: usize,
        wish: Wish,
        id: Option<u64>,
        arguments: &Arguments,
    ) -> Result<(), CloseReason> {
        let result = match wish {
            Wish::Join => self.join_wished(socket, arguments).await?,
            Wish::Leave => self.leave_wished(socket, arguments).await?,
        };
        self.shared.count(result);
        if let Some(id) = id.filter(|_| matches!(result, EventResult::Joined | EventResult::Left)) {
            let namespace = self.sockets[socket].namespace.name.to_string().into();
            self.send(&Packet { namespace, body: Body::Ack { id, arguments: Arguments::none() } });
        }
        Ok(())
    }

    async fn join_wished(&mut self, socket: usize, arguments: &Arguments) -> Result<EventResult, CloseReason> {
        let services = Arc::clone(&self.shared.services);
        let of = &self.sockets[socket];
        let Some(room) = arguments.first_argument() else { return Ok(EventResult::Forbidden) };
        let claimed = of.namespace.may_join_claim.as_deref().and_then(|claim| claims(of.meta.as_ref()?, claim));
        let allowed = |rule: &RoomRule| rule.allows(&room, &of.user);
        let may = of.namespace.may_join.iter().chain(claimed.iter().flatten()).any(allowed);
        let channel = rooms::channel(&of.namespace, &room, services.channel.max_length);
        let is_full = of.rooms.len() >= services.client.channel_limit;
        let is_open =
            |channel: &Channel| of.namespace.rooms.as_ref().is_some_and(|rooms| is_open_to(channel, rooms, &of.user));
        match channel.filter(|channel| may && !is_full && is_open(channel)) {
            Some(channel) => self.join(socket, &channel, None).await.map(|()| EventResult::Joined),
            None => Ok(EventResult::Forbidden),
        }
    }

    async fn leave_wished(&mut self, socket: usize, arguments: &Arguments) -> Result<EventResult, CloseReason> {
        let room = arguments.first_argument();
        let Some(channel) = room.and_then(|room| self.room_of(socket, &room)) else {
            return Ok(EventResult::NotInRoom);
        };
        let rooms = &mut self.sockets[socket].rooms;
        let Some(place) = rooms.iter().position(|room| *room.channel() == channel) else {
            return Ok(EventResult::NotInRoom);
        };
        let room = rooms.swap_remove(place);
        Arc::clone(&self.shared).leave_room(&mut self.sockets[socket], room).await;
        self.note_rooms(socket).await?;
        Ok(EventResult::Left)
    }
}

/// The rules in a member of what a token, or the connect hook, gave for services: an array of texts.
fn claims(meta: &Bytes, claim: &str) -> Option<Vec<RoomRule>> {
    #[derive(Deserialize)]
    struct Meta<'a>(#[serde(borrow)] std::collections::HashMap<String, &'a RawValue>);
    let Meta(meta) = serde_json::from_slice(meta).ok()?;
    let rules: Vec<String> = serde_json::from_str(meta.get(claim)?.get()).ok()?;
    Some(rules.iter().map(|rule| RoomRule::new(rule)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_a_list_of_rules_in_one_member() {
        let of = |meta: &'static str| claims(&Bytes::from_static(meta.as_bytes()), "rooms").map(|rules| rules.len());
        assert_eq!(of(r#"{"plan": {"a": 1}, "rooms": ["red", "blue-*"]}"#), Some(2));
        assert_eq!(of(r#"{"rooms": []}"#), Some(0));
        for none in [r#"{"room": ["red"]}"#, r#"{"rooms": "red"}"#, r#"{"rooms": [1]}"#, "[]", "7"] {
            assert_eq!(of(none), None, "{none}");
        }
    }
}
