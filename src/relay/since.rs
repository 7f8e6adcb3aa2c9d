//! From where a reader wants to go on.

use super::recovery::Refusal;
use crate::protocol::{Epoch, Offset};

/// A position as a client or backend gives it. An empty epoch fits any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Since {
    pub offset: Offset,
    pub epoch: String,
}

impl Since {
    /// Why nobody can go on from here where `epoch` is in force; `None` where nothing speaks against it yet.
    pub(super) fn refusal(&self, epoch: &Epoch) -> Option<Refusal> {
        if !self.epoch.is_empty() && self.epoch != epoch.as_str() {
            Some(Refusal::Epoch)
        } else if self.offset.may_be_rounded() {
            Some(Refusal::Inexact)
        } else {
            None
        }
    }
}
