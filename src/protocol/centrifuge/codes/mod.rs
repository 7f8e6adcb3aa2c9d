//! What the numbers mean that clients act upon: closed tables, and checked values for the codes that hooks choose.
//!
//! An official SDK hangs or ends for good on an empty message or reason, so none of these types can hold one.

mod disconnect;
mod error;
mod unsubscribe;

pub use disconnect::{Disconnect, DisconnectCode};
pub use error::{ClientError, ErrorCode};
pub use unsubscribe::UnsubscribeCode;

/// Why a code and its text, chosen by a hook or a server API call, must not be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodeRefused {
    #[error("code {code} is neither in {from}..={to} nor one of the protocol's own")]
    OutOfRange { code: u32, from: u32, to: u32 },
    #[error("the text of code {code} is empty")]
    Empty { code: u32 },
    #[error("the text of code {code} is {length} bytes long, at most {limit} fit")]
    TooLong { code: u32, length: usize, limit: usize },
    #[error("the text of code {code} could be taken for JSON; use words")]
    LooksLikeJson { code: u32 },
}
