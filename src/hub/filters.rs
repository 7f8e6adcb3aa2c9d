//! The filters of one channel's listeners: each that several have is held against a message once.

use std::sync::Arc;

use crate::protocol::centrifuge::Filter;

/// Every filter that somebody has.
#[derive(Default)]
pub(super) struct Filters(Vec<Entry>);

/// A filter's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(u32);

struct Entry {
    /// `None` once nobody has it.
    filter: Option<Arc<Filter>>,
    listeners: u32,
    /// Whether the message at hand passes.
    passes: bool,
}

impl Filters {
    /// Takes a listener's filter in.
    pub(super) fn enter(&mut self, filter: Arc<Filter>) -> Place {
        let is_same = |known: &Arc<Filter>| known.hash() == filter.hash() && *known == filter;
        if let Some(index) = self.0.iter().position(|entry| entry.filter.as_ref().is_some_and(is_same)) {
            self.0[index].listeners += 1;
            return Place(index as u32);
        }
        let entry = Entry { filter: Some(filter), listeners: 1, passes: false };
        if let Some(index) = self.0.iter().position(|entry| entry.filter.is_none()) {
            self.0[index] = entry;
            return Place(index as u32);
        }
        self.0.push(entry);
        Place(self.0.len() as u32 - 1)
    }

    /// Lets a listener's filter go.
    pub(super) fn leave(&mut self, place: Place) {
        let Some(entry) = self.0.get_mut(place.0 as usize) else { return };
        entry.listeners -= 1;
        if entry.listeners == 0 {
            entry.filter = None;
        }
        if self.0.iter().all(|entry| entry.listeners == 0) {
            self.0 = Vec::new();
        }
    }

    /// Holds a message's tags against each.
    pub(super) fn judge(&mut self, tags: &[(String, String)]) {
        for entry in &mut self.0 {
            entry.passes = entry.filter.as_ref().is_some_and(|filter| filter.passes(tags));
        }
    }

    /// Whether the message judged last passes.
    pub(super) fn passes(&self, place: Place) -> bool {
        self.0.get(place.0 as usize).is_some_and(|entry| entry.passes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::centrifuge::FilterNode;

    fn filter(value: &str) -> Arc<Filter> {
        let node = FilterNode { key: "lang".into(), cmp: "eq".into(), val: value.into(), ..FilterNode::default() };
        Arc::new(Filter::of(&node).unwrap())
    }

    #[test]
    fn equal_filters_share_a_place_and_free_places_are_taken_again() {
        let mut filters = Filters::default();
        let (de, fr) = (filters.enter(filter("de")), filters.enter(filter("fr")));
        assert_eq!(filters.enter(filter("de")), de);
        filters.leave(de);
        filters.judge(&[("lang".to_owned(), "de".to_owned())]);
        assert!(filters.passes(de) && !filters.passes(fr));
        filters.leave(de);
        assert_eq!(filters.enter(filter("en")), de);
        filters.leave(de);
        filters.leave(fr);
        assert!(filters.0.is_empty());
    }
}
