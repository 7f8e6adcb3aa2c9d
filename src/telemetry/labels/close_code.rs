//! The codes that connections are closed with.

use super::Label;

/// The code that a connection was closed with, by either side; codes in no table of ours are `other`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloseCode(usize);

impl CloseCode {
    /// WebSocket's own (RFC 6455, 7.4.1; 1006 is "none at all"), then those of the Centrifuge protocol.
    const CODES: [(u16, &'static str); 33] = [
        (1000, "1000"),
        (1001, "1001"),
        (1002, "1002"),
        (1003, "1003"),
        (1005, "1005"),
        (1006, "1006"),
        (1007, "1007"),
        (1008, "1008"),
        (1009, "1009"),
        (1011, "1011"),
        (3000, "3000"),
        (3001, "3001"),
        (3004, "3004"),
        (3005, "3005"),
        (3006, "3006"),
        (3008, "3008"),
        (3009, "3009"),
        (3010, "3010"),
        (3011, "3011"),
        (3012, "3012"),
        (3013, "3013"),
        (3014, "3014"),
        (3500, "3500"),
        (3501, "3501"),
        (3502, "3502"),
        (3503, "3503"),
        (3504, "3504"),
        (3505, "3505"),
        (3506, "3506"),
        (3507, "3507"),
        (3508, "3508"),
        (3509, "3509"),
        (0, "other"),
    ];
    const OTHER: usize = Self::CODES.len() - 1;
}

impl From<u16> for CloseCode {
    fn from(code: u16) -> Self {
        Self(Self::CODES.iter().position(|(known, _)| *known == code).unwrap_or(Self::OTHER))
    }
}

impl Label for CloseCode {
    const NAME: &'static str = "code";
    const ALL: &'static [Self] = &{
        let mut all = [Self(0); Self::CODES.len()];
        let mut index = 0;
        while index < all.len() {
            all[index] = Self(index);
            index += 1;
        }
        all
    };

    fn value(self) -> &'static str {
        Self::CODES[self.0].1
    }

    fn index(self) -> usize {
        self.0
    }
}
