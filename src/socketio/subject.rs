//! The subjects of events.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::settings::SocketIoNotice;

/// What stands for itself in a token of a subject.
const TOKEN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');
/// Bytes of an event's name that a service can be asked under.
const NAME_LIMIT: usize = 200;
/// The token of the main namespace. No other has it: a name that begins with `_` has that encoded.
const MAIN: &str = "_";

/// What services are told of sockets: as events, whose names these cannot be, or of rooms below one token more.
pub(super) fn notice(namespace: &str, notice: SocketIoNotice) -> String {
    let namespace = self::namespace(namespace);
    match notice {
        SocketIoNotice::Connect => format!("sio.{namespace}.connect"),
        SocketIoNotice::Disconnect => format!("sio.{namespace}.disconnect"),
        SocketIoNotice::Join => format!("sio.{namespace}.room.join"),
        SocketIoNotice::Leave => format!("sio.{namespace}.room.leave"),
        SocketIoNotice::Create => format!("sio.{namespace}.room.create"),
        SocketIoNotice::Delete => format!("sio.{namespace}.room.delete"),
    }
}

/// `sio.<namespace>.<event>`, below the prefix. Each is one token: whatever one cannot hold is percent-encoded, as UTF-8.
/// `None` for an event without a name, or of one too long for a subject.
pub(super) fn event(namespace: &str, event: &str) -> Option<String> {
    if event.is_empty() || event.len() > NAME_LIMIT {
        return None;
    }
    Some(format!("sio.{}.{}", self::namespace(namespace), utf8_percent_encode(event, TOKEN)))
}

fn namespace(name: &str) -> String {
    let name = name.trim_start_matches('/');
    match name.strip_prefix('_') {
        _ if name.is_empty() => MAIN.to_owned(),
        Some(rest) => format!("%5F{}", utf8_percent_encode(rest, TOKEN)),
        None => utf8_percent_encode(name, TOKEN).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_namespace_and_event_has_a_subject_of_its_own() {
        for (namespace, name, subject) in [
            ("/", "message", "sio._.message"),
            ("/admin", "chat message", "sio.admin.chat%20message"),
            ("/a/b", "a.b", "sio.a%2Fb.a%2Eb"),
            ("/_", "*", "sio.%5F.%2A"),
            ("/_x", ">", "sio.%5Fx.%3E"),
            ("/", "grüße", "sio._.gr%C3%BC%C3%9Fe"),
        ] {
            assert_eq!(event(namespace, name).as_deref(), Some(subject));
        }
        assert_eq!(notice("/a", SocketIoNotice::Connect), "sio.a.connect");
        assert_eq!(notice("/", SocketIoNotice::Join), "sio._.room.join");
        assert_eq!(event("/", ""), None);
        assert_eq!(event("/", &"a".repeat(201)), None);
    }
}
