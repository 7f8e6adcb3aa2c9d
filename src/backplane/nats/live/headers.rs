//! Reading a message's header block without taking it apart.

/// A raw header block: the status line, then `Name: value` lines, an empty line at the end. May be empty.
///
/// Names are compared as NATS does, by case. Publishers write headers too, and the server appends its own behind theirs:
/// for every `Nats-*` header only [`last`](Self::last) tells the truth.
#[derive(Debug, Clone, Copy)]
pub struct Headers<'a>(&'a [u8]);

/// What a status line says: `NATS/1.0 404 Message Not Found`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status<'a> {
    pub code: u16,
    /// Empty if the line gives none.
    pub description: &'a str,
}

impl<'a> Headers<'a> {
    #[must_use]
    pub const fn new(raw: &'a [u8]) -> Self {
        Self(raw)
    }

    /// The status of a message that carries one; ordinary messages do not.
    #[must_use]
    pub fn status(self) -> Option<Status<'a>> {
        let line = self.0.split(|&byte| byte == b'\n').next()?;
        let rest = std::str::from_utf8(line).ok()?.strip_prefix("NATS/1.0")?.trim();
        let (code, description) = rest.split_once(' ').unwrap_or((rest, ""));
        Some(Status { code: code.parse().ok()?, description: description.trim_start() })
    }

    /// The value of the last line with this name; `None` also when that value is not UTF-8.
    #[must_use]
    pub fn last(self, name: &str) -> Option<&'a str> {
        let value = self.fields().rev().find(|field| field.0 == name.as_bytes())?.1;
        std::str::from_utf8(value).ok()
    }

    /// The values of every line with this name, in the order of the block; those that are not UTF-8 are left out.
    pub fn all(self, name: &str) -> impl Iterator<Item = &'a str> {
        self.iter().filter(move |field| field.0 == name).map(|field| field.1)
    }

    /// Every name and value, in the order of the block; lines that are not UTF-8 are left out.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.fields()
            .filter_map(|(name, value)| Some((std::str::from_utf8(name).ok()?, std::str::from_utf8(value).ok()?)))
    }

    fn fields(self) -> impl DoubleEndedIterator<Item = (&'a [u8], &'a [u8])> {
        let body = match memchr::memchr(b'\n', self.0) {
            Some(end) => &self.0[end + 1..],
            None => &[],
        };
        body.split(|&byte| byte == b'\n').filter_map(|line| {
            let colon = memchr::memchr(b':', line)?;
            Some((&line[..colon], line[colon + 1..].trim_ascii()))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_last_line_of_a_name_is_the_servers() {
        let headers = Headers::new(b"NATS/1.0\r\nNats-Sequence: 999\r\nX: y\r\nNats-Sequence:7\r\n\r\n");
        assert_eq!(headers.last("Nats-Sequence"), Some("7"));
        assert_eq!(headers.all("Nats-Sequence").collect::<Vec<_>>(), ["999", "7"]);
        assert_eq!(headers.last("nats-sequence"), None);
        assert_eq!(headers.last("Nats"), None);
        assert_eq!(headers.status(), None);
    }

    #[test]
    fn a_last_value_that_is_no_text_does_not_bring_back_the_first() {
        let headers = Headers::new(b"NATS/1.0\r\nNats-Sequence: 999\r\nNats-Sequence: \xff\r\n\r\n");
        assert_eq!(headers.last("Nats-Sequence"), None);
    }

    #[test]
    fn values_may_hold_colons_and_be_empty() {
        let headers = Headers::new(b"NATS/1.0\r\nTime: 12:30:01\r\nEmpty:\r\nno field here\r\n\r\n");
        assert_eq!(headers.last("Time"), Some("12:30:01"));
        assert_eq!(headers.last("Empty"), Some(""));
        assert_eq!(headers.iter().count(), 2);
    }

    #[test]
    fn status_lines() {
        let of =
            |raw: &'static str| Headers::new(raw.as_bytes()).status().map(|status| (status.code, status.description));
        assert_eq!(of("NATS/1.0 404 Message Not Found\r\n\r\n"), Some((404, "Message Not Found")));
        assert_eq!(of("NATS/1.0 204 EOB\r\nNats-Num-Pending: 0\r\n\r\n"), Some((204, "EOB")));
        assert_eq!(of("NATS/1.0 503\r\n\r\n"), Some((503, "")));
        assert_eq!(of("NATS/1.0\r\nStatus: 1\r\n\r\n"), None);
        assert_eq!(of(""), None);
        assert_eq!(of("HTTP/1.1 200 OK\r\n\r\n"), None);
    }

    proptest! {
        #[test]
        fn rubbish_is_read_without_panic(raw in proptest::collection::vec(any::<u8>(), 0..200)) {
            let headers = Headers::new(&raw);
            let _ = (headers.status(), headers.last("a"), headers.iter().count());
        }
    }
}
