//! What is published where.

/// The channels of one namespace.
#[derive(Debug, Clone)]
pub struct Channels {
    key: String,
    namespace: String,
}

impl Channels {
    /// Below `key`, which is the adapters' option of that name (`socket.io`). A namespace begins with its slash.
    #[must_use]
    pub fn new(key: &str, namespace: &str) -> Self {
        Self { key: key.to_owned(), namespace: namespace.to_owned() }
    }

    /// Where a broadcast for exactly one room goes, or any other.
    #[must_use]
    pub fn broadcast(&self, room: Option<&str>) -> String {
        let Self { key, namespace } = self;
        room.map_or_else(|| format!("{key}#{namespace}#"), |room| format!("{key}#{namespace}#{room}#"))
    }

    /// All of these, as a pattern.
    #[must_use]
    pub fn broadcasts(&self) -> String {
        format!("{}*", escaped(&self.broadcast(None)))
    }

    /// Where servers are asked. Whoever subscribes here is counted, and owes answers.
    #[must_use]
    pub fn requests(&self) -> String {
        format!("{}-request#{}#", self.key, self.namespace)
    }

    /// Where everybody hears answers.
    #[must_use]
    pub fn responses(&self) -> String {
        format!("{}-response#{}#", self.key, self.namespace)
    }
}

/// A text as a pattern that stands for itself.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_those_of_the_adapter() {
        let main = Channels::new("socket.io", "/");
        assert_eq!(main.broadcast(None), "socket.io#/#");
        assert_eq!(main.broadcast(Some("r1")), "socket.io#/#r1#");
        assert_eq!(main.broadcasts(), "socket.io#/#*");
        assert_eq!(main.requests(), "socket.io-request#/#");
        assert_eq!(Channels::new("socket.io", "/admin").responses(), "socket.io-response#/admin#");
        assert_eq!(Channels::new("my[app]*", "/a?").broadcasts(), "my\\[app\\]\\*#/a\\?#*");
    }
}
