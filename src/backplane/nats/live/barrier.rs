//! Which PING asks about which subscriptions.
//!
//! A server answers in order: what it says between two PONGs is about what was written between their two PINGs. Thus the
//! PONG behind a SUB, without an error in between, is its acceptance.

use std::collections::{HashMap, VecDeque};

use super::Sid;

/// What one PING asks about.
#[derive(Debug, Default)]
pub(super) struct Barrier {
    /// Subscriptions that somebody waits for.
    pub(super) sids: Vec<Sid>,
    /// The subscriptions of an earlier connection were written before it.
    pub(super) restores: bool,
    /// Refused subjects with the server's word.
    pub(super) refused: HashMap<String, String>,
    /// A refusal that does not say which subscription it means.
    pub(super) unnamed: Option<String>,
}

#[derive(Debug, Default)]
pub(super) struct Barriers(VecDeque<Barrier>);

/// What an error of the server is about.
#[derive(Debug, PartialEq, Eq)]
enum Complaint {
    Subject(String),
    SomeSubscription,
    Otherwise,
}

impl Barriers {
    /// A PING was written behind this.
    pub(super) fn push(&mut self, barrier: Barrier) {
        self.0.push_back(barrier);
    }

    /// A PONG came: what it answers. `None` if nothing was asked.
    pub(super) fn pop(&mut self) -> Option<Barrier> {
        self.0.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Files an error of the server; false if it is not about subscriptions. If nothing was asked, the
    /// caller has to ask now: the PONG settles it.
    pub(super) fn file(&mut self, error: &str) -> bool {
        let complaint = Complaint::of(error);
        if complaint == Complaint::Otherwise {
            return false;
        }
        if self.0.is_empty() {
            self.0.push_back(Barrier::default());
        }
        let front = &mut self.0[0];
        match complaint {
            Complaint::Subject(subject) => {
                front.refused.insert(subject, error.to_owned());
            }
            Complaint::SomeSubscription => front.unnamed = Some(error.to_owned()),
            Complaint::Otherwise => {}
        }
        true
    }
}

impl Complaint {
    /// `Permissions Violation for Subscription to "x"`, also with `using queue "q"`, `(sid "7")` or `, too many tokens`
    /// behind it; `maximum subscriptions exceeded`; `Invalid Subject`.
    fn of(error: &str) -> Self {
        const VIOLATION: &str = "permissions violation for subscription to ";
        let lower = error.to_ascii_lowercase();
        if lower.starts_with(VIOLATION) {
            return quoted(&error[VIOLATION.len()..]).map_or(Self::SomeSubscription, Self::Subject);
        }
        if lower.starts_with("maximum subscriptions exceeded") || lower.starts_with("invalid subject") {
            return Self::SomeSubscription;
        }
        Self::Otherwise
    }
}

/// The text in quotes at the front; quotes and backslashes in it are escaped with backslashes.
fn quoted(text: &str) -> Option<String> {
    let mut found = String::new();
    let mut characters = text.strip_prefix('"')?.chars();
    loop {
        match characters.next()? {
            '"' => return Some(found),
            '\\' => found.push(characters.next()?),
            other => found.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_server_are_told_apart() {
        let subject = |text: &str| Complaint::Subject(text.to_owned());
        for (error, complaint) in [
            (r#"Permissions Violation for Subscription to "a.b""#, subject("a.b")),
            (r#"Permissions Violation for Subscription to "a.>" using queue "q""#, subject("a.>")),
            (r#"Permissions Violation for Subscription to "a" (sid "7")"#, subject("a")),
            (r#"Permissions Violation for Subscription to "a\"\\b", too many tokens"#, subject("a\"\\b")),
            ("Permissions Violation for Subscription to ", Complaint::SomeSubscription),
            ("maximum subscriptions exceeded", Complaint::SomeSubscription),
            ("Invalid Subject", Complaint::SomeSubscription),
            (r#"Permissions Violation for Publish to "a""#, Complaint::Otherwise),
            ("Stale Connection", Complaint::Otherwise),
            ("Permissions Violation for Subscription tö", Complaint::Otherwise),
        ] {
            assert_eq!(Complaint::of(error), complaint, "{error}");
        }
    }

    #[test]
    fn an_error_belongs_to_the_oldest_unanswered_ping() {
        let mut barriers = Barriers::default();
        barriers.push(Barrier { sids: vec![Sid(1)], ..Barrier::default() });
        barriers.push(Barrier { sids: vec![Sid(2)], ..Barrier::default() });
        assert!(barriers.file("Invalid Subject"));
        assert!(!barriers.file("Stale Connection"));
        let first = barriers.pop().expect("was pushed");
        assert_eq!((first.sids, first.unnamed.as_deref()), (vec![Sid(1)], Some("Invalid Subject")));
        assert_eq!(barriers.pop().expect("was pushed").unnamed, None);
        assert!(barriers.pop().is_none());
    }
}
