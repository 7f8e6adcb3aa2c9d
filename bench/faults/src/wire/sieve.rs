//! Takes single deliveries out of what a NATS server says, and leaves the rest as it is.

/// What is not whole yet.
#[derive(Default)]
pub struct Sieve {
    rest: Vec<u8>,
}

impl Sieve {
    /// What is left of what the server said, as far as it is whole. `takes` is asked for the subject of each delivery.
    pub fn sift(&mut self, said: &[u8], mut takes: impl FnMut(&str) -> bool) -> Vec<u8> {
        self.rest.extend_from_slice(said);
        let mut left = Vec::with_capacity(self.rest.len());
        let mut at = 0;
        while let Some((length, subject)) = next(&self.rest[at..]) {
            if !subject.is_some_and(&mut takes) {
                left.extend_from_slice(&self.rest[at..at + length]);
            }
            at += length;
        }
        self.rest.drain(..at);
        left
    }
}

/// The length of the operation that stands first, and its subject, if it is a delivery.
fn next(said: &[u8]) -> Option<(usize, Option<&str>)> {
    let line = said.windows(2).position(|pair| pair == b"\r\n")? + 2;
    let mut words = said[..line - 2].split(|byte| *byte == b' ');
    let operation = words.next()?;
    if operation != b"MSG" && operation != b"HMSG" {
        return Some((line, None));
    }
    let subject = std::str::from_utf8(words.next()?).unwrap_or_default();
    let size: usize = std::str::from_utf8(words.next_back()?).ok()?.parse().ok()?;
    let whole = line + size + 2;
    (said.len() >= whole).then_some((whole, Some(subject)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Prey;

    const SAID: &[u8] = b"INFO {}\r\nPING\r\nMSG midplane.live.kept.a 1 5\r\nhello\r\nMSG other 2 2\r\n\r\n\r\n\
        HMSG midplane.live.kept.a 1 12 14\r\nNATS/1.0\r\n\r\nhi\r\n+OK\r\n";

    #[test]
    fn what_is_not_taken_passes_unchanged_however_it_is_cut() {
        for size in 1..SAID.len() {
            let mut sieve = Sieve::default();
            let left: Vec<u8> = SAID.chunks(size).flat_map(|chunk| sieve.sift(chunk, |_| false)).collect();
            assert_eq!(left, SAID, "in pieces of {size}");
        }
    }

    #[test]
    fn only_deliveries_of_the_kind_that_is_wanted_are_taken() {
        let left = Sieve::default().sift(SAID, |subject| Prey::Stored.takes(subject, ""));
        assert_eq!(left, b"INFO {}\r\nPING\r\nMSG other 2 2\r\n\r\n\r\n+OK\r\n");
    }

    #[test]
    fn deliveries_are_told_apart_by_their_subject() {
        for (subject, prey) in [
            ("midplane.live.kept.a", Prey::Stored),
            ("midplane.pub.plain.a", Prey::Plain),
            ("midplane.preslive.n~1.room.a.b", Prey::Presence),
            ("midplane.hb.node-1", Prey::Heartbeats),
            ("midplane.registry.nodes.node-1", Prey::Membership),
            ("midplane.epoch.kept", Prey::Words),
            ("midplane.api.publish", Prey::Words),
            ("_INBOX.x.y", Prey::Answers),
        ] {
            let said = format!("MSG {subject} 1 0\r\n\r\n");
            assert_eq!(next(said.as_bytes()), Some((said.len(), Some(subject))));
            assert_eq!(Prey::of(subject), prey, "{subject}");
        }
    }

    #[test]
    fn of_heartbeats_alone_those_of_others_are_taken_and_with_membership_all() {
        let own = "midplane.hb.node-1";
        for (prey, taken) in [(Prey::Heartbeats, [false, true, false]), (Prey::Membership, [true, true, true])] {
            let subjects = [own, "midplane.hb.node-2", "midplane.registry.nodes.node-2"];
            assert_eq!(subjects.map(|subject| prey.takes(subject, own)), taken, "{prey:?}");
        }
    }
}
