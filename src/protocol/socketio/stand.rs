//! How far a client has come, as it tells when it comes again: what stands behind the last argument of every event.
//!
//! Clients keep the last argument of whatever event came last, if that is a text, and send it back as `offset`
//! (`packages/socket.io-client/lib/socket.ts` of `socketio/socket.io`). So it has to say by itself what it is.

use std::fmt;

use crate::protocol::{Epoch, Offset, Position};

/// What no other text begins with, but by intent.
const TAG: &str = "~mp";
/// What an end has from which nobody can go on.
const DOUBTFUL: char = '?';

/// How far a client has come in a namespace that is delivered in order: `~mp<epoch>.<offset>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stand {
    pub position: Position,
    /// Something before it may not have come: nobody can go on from here. Ends in `?`.
    pub doubtful: bool,
}

/// A text that no [`Stand`] was written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an offset")]
pub struct NoStand;

impl Stand {
    /// Reads it as it is written, and nothing else.
    ///
    /// # Errors
    /// Any other text.
    pub fn parse(text: &str) -> Result<Self, NoStand> {
        let rest = text.strip_prefix(TAG).ok_or(NoStand)?;
        let (rest, doubtful) = rest.strip_suffix(DOUBTFUL).map_or((rest, false), |rest| (rest, true));
        let (epoch, offset) = rest.rsplit_once('.').ok_or(NoStand)?;
        let offset = Offset(offset.parse().map_err(|_| NoStand)?);
        let stand = Self { position: Position { offset, epoch: Epoch::new(epoch) }, doubtful };
        if stand.to_string() == text { Ok(stand) } else { Err(NoStand) }
    }
}

impl fmt::Display for Stand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { position: Position { offset, epoch }, doubtful } = self;
        let end = if *doubtful { "?" } else { "" };
        write!(f, "{TAG}{epoch}.{}{end}", offset.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stand_is_read_as_it_was_written() {
        for doubtful in [false, true] {
            let stand = Stand { position: Position { offset: Offset(17), epoch: Epoch::new("a1b2") }, doubtful };
            assert_eq!(Stand::parse(&stand.to_string()), Ok(stand));
        }
        assert_eq!(Stand::parse("~mpa1b2.17").unwrap().to_string(), "~mpa1b2.17");
    }

    #[test]
    fn no_other_text_is_taken_for_one() {
        for text in [
            "",
            "hello",
            "17",
            "a.17",
            "~mp",
            "~mp17",
            "~mpa.",
            "~mpa.-1",
            "~mpa.+1",
            "~mpa.01",
            "~mpa.1 ",
            "~mpa.1??",
            " ~mpa.1",
            "~mpa.99999999999999999999",
        ] {
            assert_eq!(Stand::parse(text), Err(NoStand), "{text:?}");
        }
    }
}
