//! Takes single deliveries out of what a NATS server says, and leaves the rest as it is.

/// Where stored publications come out.
const LIVE: &[u8] = b"midplane.live.";

/// What is not whole yet.
#[derive(Default)]
pub struct Sieve {
    rest: Vec<u8>,
}

impl Sieve {
    /// What is left of what the server said, as far as it is whole. `takes` is asked for each delivery.
    pub fn sift(&mut self, said: &[u8], mut takes: impl FnMut() -> bool) -> Vec<u8> {
        self.rest.extend_from_slice(said);
        let mut left = Vec::with_capacity(self.rest.len());
        let mut at = 0;
        while let Some((length, is_live)) = next(&self.rest[at..]) {
            if !(is_live && takes()) {
                left.extend_from_slice(&self.rest[at..at + length]);
            }
            at += length;
        }
        self.rest.drain(..at);
        left
    }
}

/// The length of the operation that stands first, and whether it is the delivery of a stored publication.
fn next(said: &[u8]) -> Option<(usize, bool)> {
    let line = said.windows(2).position(|pair| pair == b"\r\n")? + 2;
    let mut words = said[..line - 2].split(|byte| *byte == b' ');
    let operation = words.next()?;
    if operation != b"MSG" && operation != b"HMSG" {
        return Some((line, false));
    }
    let is_live = words.next()?.starts_with(LIVE);
    let size: usize = std::str::from_utf8(words.next_back()?).ok()?.parse().ok()?;
    let whole = line + size + 2;
    (said.len() >= whole).then_some((whole, is_live))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &[u8] = b"INFO {}\r\nPING\r\nMSG midplane.live.kept.a 1 5\r\nhello\r\nMSG other 2 2\r\n\r\n\r\n\
        HMSG midplane.live.kept.a 1 12 14\r\nNATS/1.0\r\n\r\nhi\r\n+OK\r\n";

    #[test]
    fn what_is_not_taken_passes_unchanged_however_it_is_cut() {
        for size in 1..SAID.len() {
            let mut sieve = Sieve::default();
            let left: Vec<u8> = SAID.chunks(size).flat_map(|chunk| sieve.sift(chunk, || false)).collect();
            assert_eq!(left, SAID, "in pieces of {size}");
        }
    }

    #[test]
    fn only_deliveries_of_stored_publications_are_taken() {
        let left = Sieve::default().sift(SAID, || true);
        assert_eq!(left, b"INFO {}\r\nPING\r\nMSG other 2 2\r\n\r\n\r\n+OK\r\n");
    }
}
