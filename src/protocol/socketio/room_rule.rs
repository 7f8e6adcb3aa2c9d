//! Rooms as rules name them: texts in which `{user}` stands for a client's user, `{1}` for an event's first argument, and
//! `*` for anything.

/// A rule. What is put in for a user or an argument is taken as it is, also a `*` in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomRule(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    User,
    Argument,
    Anything,
}

const PARTS: [(&str, Part); 3] = [("{user}", Part::User), ("{1}", Part::Argument), ("*", Part::Anything)];

impl RoomRule {
    /// Reads a rule; every text is one.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((at, token, part)) = next(rest) {
            if at > 0 {
                parts.push(Part::Text(rest[..at].to_owned()));
            }
            parts.push(part);
            rest = &rest[at + token.len()..];
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Self(parts)
    }

    /// Whether it names one room for each user and argument.
    #[must_use]
    pub fn is_definite(&self) -> bool {
        !self.0.contains(&Part::Anything)
    }

    /// Whether it depends on an event's first argument.
    #[must_use]
    pub fn wants_argument(&self) -> bool {
        self.0.contains(&Part::Argument)
    }

    /// The room that it names; `None` without what it depends on, and where it may be any. An anonymous user is none.
    #[must_use]
    pub fn room(&self, user: &str, argument: Option<&str>) -> Option<String> {
        self.0.iter().map(|part| part.text(user, argument)).collect()
    }

    /// Whether it allows a room. Nothing is known of arguments then.
    #[must_use]
    pub fn allows(&self, room: &str, user: &str) -> bool {
        matches(&self.0, room, user)
    }
}

impl Part {
    fn text<'a>(&'a self, user: &'a str, argument: Option<&'a str>) -> Option<&'a str> {
        match self {
            Self::Text(text) => Some(text),
            Self::User => Some(user).filter(|user| !user.is_empty()),
            Self::Argument => argument,
            Self::Anything => None,
        }
    }
}

/// The part that comes next in a text, where, and how it is written.
fn next(text: &str) -> Option<(usize, &'static str, Part)> {
    let found = PARTS.iter().filter_map(|(token, part)| Some((text.find(token)?, *token, part.clone())));
    found.min_by_key(|(at, ..)| *at)
}

fn matches(parts: &[Part], room: &str, user: &str) -> bool {
    // Where the last part was that stands for anything, and how much it stands for.
    let mut retry: Option<(usize, usize)> = None;
    let (mut part, mut at) = (0, 0);
    loop {
        let text = parts.get(part).map(|part| part.text(user, None));
        match (parts.get(part), text.flatten()) {
            (Some(Part::Anything), _) => {
                part += 1;
                retry = Some((part, at));
                continue;
            }
            (Some(_), Some(text)) if room[at..].starts_with(text) => {
                part += 1;
                at += text.len();
                continue;
            }
            // Without a user it allows nothing.
            (Some(_), None) => return false,
            (None, _) if at == room.len() => return true,
            (None, _) | (Some(_), Some(_)) => {}
        }
        let Some((from, taken)) = retry else { return false };
        let Some(next) = room[taken..].chars().next() else { return false };
        retry = Some((from, taken + next.len_utf8()));
        (part, at) = (from, taken + next.len_utf8());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_allows_what_it_describes() {
        for (rule, room, allowed) in [
            ("lobby", "lobby", true),
            ("lobby", "lobbyx", false),
            ("public-*", "public-1", true),
            ("public-*", "public-", true),
            ("public-*", "private-1", false),
            ("*-news-*", "eu-news-news-1", true),
            ("*ö", "aöbö", true),
            ("*ö", "aöb", false),
            ("of-{user}", "of-ada", true),
            ("of-{user}", "of-bob", false),
            ("of-{user}-*", "of-ada-7", true),
            ("*", "", true),
            ("", "", true),
        ] {
            assert_eq!(RoomRule::new(rule).allows(room, "ada"), allowed, "{rule} {room}");
        }
    }

    #[test]
    fn a_user_stands_for_itself_alone() {
        let own = RoomRule::new("of-{user}");
        assert!(own.allows("of-*", "*") && !own.allows("of-ada", "*"));
        assert!(!own.allows("of-", "") && own.room("", None).is_none(), "nobody has no room");
        assert_eq!(own.room("{1}", Some("x")).as_deref(), Some("of-{1}"));
    }

    #[test]
    fn a_rule_names_a_room_with_what_it_depends_on() {
        let rule = RoomRule::new("{1}-of-{user}");
        assert!(rule.is_definite() && rule.wants_argument());
        assert_eq!(rule.room("ada", Some("red")).as_deref(), Some("red-of-ada"));
        assert_eq!(rule.room("ada", None), None);
        assert_eq!(RoomRule::new("a*").room("ada", None), None);
        assert!(!RoomRule::new("a*").is_definite());
    }
}
