//! All revocations in force, in memory.

use std::collections::HashMap;

use super::SLACK;
use super::record::{Record, later};
use super::token::{Token, digest};
use crate::backplane::Revision;
use crate::clock::unix_seconds;

/// What is revoked.
#[derive(Default)]
pub(super) struct Bans {
    tokens: HashMap<u128, Ban>,
    /// By the digest of user and channel.
    users: HashMap<u128, Ban>,
}

struct Ban {
    /// Tokens issued before are refused; of a token by its id all.
    issued_before: u64,
    /// Unix seconds; 0 is never.
    expires_at: u64,
    revision: Revision,
}

impl Ban {
    const fn is_over(&self, now: u64) -> bool {
        self.expires_at > 0 && self.expires_at <= now
    }

    /// Over for so long that it was over by every clock.
    const fn is_forgotten(&self, now: u64) -> bool {
        self.is_over(now.saturating_sub(SLACK.as_secs()))
    }

    fn refuses(&self, issued_at: u32) -> bool {
        u64::from(issued_at) < self.issued_before && !self.is_over(unix_seconds())
    }
}

impl Bans {
    /// Takes a record; whether it says anything new.
    pub fn take(&mut self, key: &str, record: &Record, revision: Revision) -> bool {
        if record.key() != key {
            return false;
        }
        let (bans, digest, issued_before) = match record {
            Record::Token { id, .. } => (&mut self.tokens, *id, u64::MAX),
            Record::User { user, channel, issued_before, .. } => {
                (&mut self.users, digest(&[user, channel]), (*issued_before).min(u32::MAX.into()))
            }
            Record::Digest { id, issued_before, .. } => (&mut self.users, *id, (*issued_before).min(u32::MAX.into())),
        };
        let mut ban = Ban { issued_before, expires_at: record.expires_at(), revision };
        if ban.is_forgotten(unix_seconds()) {
            return false;
        }
        if let Some(known) = bans.get(&digest).filter(|known| known.revision >= revision) {
            // Revisions begin anew where the registry was lost: what counts then is what refuses more.
            ban.issued_before = ban.issued_before.max(known.issued_before);
            ban.expires_at = later(ban.expires_at, known.expires_at);
        }
        let same = |known: &Ban| (known.issued_before, known.expires_at) == (ban.issued_before, ban.expires_at);
        if let Some(known) = bans.get_mut(&digest).filter(|known| same(known)) {
            known.revision = known.revision.max(revision);
            return false;
        }
        bans.insert(digest, ban);
        true
    }

    /// A key has no value any more, since this revision.
    pub fn lift(&mut self, key: &str, revision: Revision) {
        let of = |bans: &mut HashMap<u128, Ban>, digits: &str| {
            let Ok(digest) = u128::from_str_radix(digits, 16) else { return };
            if bans.get(&digest).is_some_and(|ban| ban.revision < revision) {
                bans.remove(&digest);
            }
        };
        if let Some(digits) = key.strip_prefix("token-") {
            of(&mut self.tokens, digits);
        } else if let Some(digits) = key.strip_prefix("user-") {
            of(&mut self.users, digits);
        }
    }

    /// Whether anything refuses a token.
    pub fn refuse(&self, token: &Token, user: &str, channel: &str) -> bool {
        if token.id.is_some_and(|id| self.tokens.get(&id).is_some_and(|ban| !ban.is_over(unix_seconds()))) {
            return true;
        }
        if self.users.is_empty() {
            return false;
        }
        let refused =
            |channel| self.users.get(&digest(&[user, channel])).is_some_and(|ban| ban.refuses(token.issued_at));
        refused("") || (!channel.is_empty() && refused(channel))
    }

    /// Everything that is not over, to be written again.
    pub fn records(&self) -> Vec<Record> {
        let now = unix_seconds();
        let live = |bans: &HashMap<u128, Ban>| {
            let live = bans.iter().filter(|(_, ban)| !ban.is_over(now));
            live.map(|(id, ban)| (*id, ban.issued_before, ban.expires_at)).collect::<Vec<_>>()
        };
        let tokens = live(&self.tokens).into_iter().map(|(id, _, expires_at)| Record::Token { id, expires_at });
        let users = live(&self.users).into_iter();
        tokens
            .chain(users.map(|(id, issued_before, expires_at)| Record::Digest { id, issued_before, expires_at }))
            .collect()
    }

    /// Forgets what is over.
    pub fn sweep(&mut self) {
        let now = unix_seconds();
        self.tokens.retain(|_, ban| !ban.is_forgotten(now));
        self.users.retain(|_, ban| !ban.is_forgotten(now));
    }

    pub fn len(&self) -> usize {
        self.tokens.len() + self.users.len()
    }

    pub fn contains(&self, key: &str) -> bool {
        let has = |bans: &HashMap<u128, Ban>, digits: &str| {
            u128::from_str_radix(digits, 16).is_ok_and(|digest| bans.contains_key(&digest))
        };
        key.strip_prefix("token-").is_some_and(|digits| has(&self.tokens, digits))
            || key.strip_prefix("user-").is_some_and(|digits| has(&self.users, digits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(bans: &mut Bans, record: &Record, revision: u64) -> bool {
        bans.take(&record.key(), record, Revision(revision))
    }

    #[test]
    fn a_token_is_refused_by_its_id() {
        let mut bans = Bans::default();
        assert!(take(&mut bans, &Record::token("a", None), 1));
        assert!(bans.refuse(&Token::new(Some("a"), None), "ann", ""));
        assert!(bans.refuse(&Token::new(Some("a"), Some(u64::MAX)), "bob", "news"));
        assert!(!bans.refuse(&Token::new(Some("b"), None), "ann", ""));
        assert!(!bans.refuse(&Token::new(None, None), "ann", ""));
        assert!(!bans.refuse(&Token::new(Some(""), None), "ann", ""), "an empty id is none");
    }

    #[test]
    fn a_user_s_tokens_are_refused_by_their_age() {
        let mut bans = Bans::default();
        take(&mut bans, &Record::user("ann", "", 100, None), 1);
        let issued = |at| Token::new(Some("x"), at);
        assert!(bans.refuse(&issued(Some(99)), "ann", ""));
        assert!(bans.refuse(&issued(Some(99)), "ann", "news"), "those for subscriptions too");
        assert!(bans.refuse(&issued(None), "ann", ""), "who does not say when is older");
        assert!(!bans.refuse(&issued(Some(100)), "ann", ""));
        assert!(!bans.refuse(&issued(Some(99)), "bob", ""));
    }

    #[test]
    fn with_a_channel_only_its_tokens_are_refused() {
        let mut bans = Bans::default();
        take(&mut bans, &Record::user("ann", "news", 100, None), 1);
        assert!(bans.refuse(&Token::new(None, Some(1)), "ann", "news"));
        assert!(!bans.refuse(&Token::new(None, Some(1)), "ann", "chat"));
        assert!(!bans.refuse(&Token::new(None, Some(1)), "ann", ""), "not the connection's");
    }

    #[test]
    fn what_refuses_more_counts_also_where_revisions_began_anew() {
        let mut bans = Bans::default();
        let record = |before, until| Record::user("ann", "", before, until);
        assert!(take(&mut bans, &record(100, None), 50));
        assert!(!take(&mut bans, &record(90, None), 1), "weaker");
        assert!(take(&mut bans, &record(200, Some(unix_seconds() + 100)), 2));
        let issued = |at| Token::new(None, Some(at));
        assert!(bans.refuse(&issued(199), "ann", ""));
        assert!(!bans.refuse(&issued(200), "ann", ""));
        assert!(take(&mut bans, &record(300, None), 3));
        assert!(bans.refuse(&issued(299), "ann", ""));
    }

    #[test]
    fn what_is_written_again_unchanged_is_no_news_and_outdates_older_word() {
        let mut bans = Bans::default();
        let record = Record::user("ann", "", 100, None);
        assert!(take(&mut bans, &record, 1));
        assert!(!take(&mut bans, &record, 5));
        bans.lift(&record.key(), Revision(4));
        assert_eq!(bans.len(), 1);
        assert!(take(&mut bans, &Record::user("ann", "", 200, None), 6));
    }

    #[test]
    fn what_a_clock_that_runs_ahead_calls_over_is_kept_for_when_it_is_set_right() {
        let mut bans = Bans::default();
        assert!(take(&mut bans, &Record::token("a", Some(unix_seconds() - 60)), 1));
        bans.sweep();
        assert_eq!(bans.len(), 1);
        assert!(!bans.refuse(&Token::new(Some("a"), None), "ann", ""), "over by this clock, as the token itself is");
    }

    #[test]
    fn what_is_written_again_from_memory_refuses_the_same() {
        let mut bans = Bans::default();
        take(&mut bans, &Record::token("a", None), 1);
        take(&mut bans, &Record::user("ann", "news", 100, None), 2);
        take(&mut bans, &Record::token("over", Some(unix_seconds() - 1)), 3);
        let mut again = Bans::default();
        for record in bans.records() {
            assert!(take(&mut again, &record, 1));
        }
        assert_eq!(again.len(), 2, "what is over is not written again");
        assert!(again.refuse(&Token::new(Some("a"), None), "bob", ""));
        assert!(again.refuse(&Token::new(None, Some(99)), "ann", "news"));
        assert!(!again.refuse(&Token::new(None, Some(100)), "ann", "news"));
    }

    #[test]
    fn what_is_over_refuses_nobody_and_is_forgotten() {
        let mut bans = Bans::default();
        assert!(!take(&mut bans, &Record::token("a", Some(1)), 1));
        assert!(take(&mut bans, &Record::token("b", Some(unix_seconds() + 100)), 2));
        assert!(!take(&mut bans, &Record::token("b", Some(unix_seconds() + 100)), 2), "known");
        bans.lift(&Record::token("b", None).key(), Revision(1));
        assert_eq!(bans.len(), 1, "older word");
        bans.lift(&Record::token("b", None).key(), Revision(3));
        bans.sweep();
        assert_eq!(bans.len(), 0);
    }
}
