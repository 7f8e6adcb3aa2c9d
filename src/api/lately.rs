//! What was heard lately: nothing is done twice.

use std::collections::{HashSet, VecDeque};

use uuid::Uuid;

/// So many are remembered.
const REMEMBERED: usize = 4096;

/// Ids, the oldest first.
#[derive(Default)]
pub(super) struct Lately {
    heard: HashSet<Uuid>,
    order: VecDeque<Uuid>,
}

impl Lately {
    /// Whether this is heard for the first time, as far as that is remembered.
    pub(super) fn is_new(&mut self, id: Uuid) -> bool {
        if !self.heard.insert(id) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.heard.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_heard_lately_is_not_new_and_not_more_than_so_much_is_remembered() {
        let mut lately = Lately::default();
        let all = || (0..=REMEMBERED).map(|id| Uuid::from_u128(id as u128));
        assert!(all().all(|id| lately.is_new(id)));
        assert!(!lately.is_new(Uuid::from_u128(REMEMBERED as u128)));
        assert!(lately.is_new(Uuid::from_u128(0)), "forgotten");
        assert_eq!((lately.heard.len(), lately.order.len()), (REMEMBERED, REMEMBERED));
    }
}
