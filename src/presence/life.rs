//! The lives of nodes: `name~number`, of one name the higher number is the later one.

use std::cmp::Ordering;
use std::collections::HashMap;

/// How two lives of one node stand to each other; `None` for those of different nodes.
pub(super) fn compare(one: &str, other: &str) -> Option<Ordering> {
    let ((name, number), (other_name, other_number)) = (parts(one)?, parts(other)?);
    (name == other_name).then(|| number.cmp(&other_number))
}

/// The latest life of each node that anybody was seen under.
#[derive(Default)]
pub(super) struct Latest(HashMap<String, u64>);

impl Latest {
    /// Takes in a life that somebody is recorded under.
    pub(super) fn note(&mut self, life: &str) {
        let Some((name, number)) = parts(life) else { return };
        match self.0.get_mut(name) {
            Some(latest) => *latest = number.max(*latest),
            None => {
                self.0.insert(name.to_owned(), number);
            }
        }
    }

    /// Whether a later life of the same node was seen.
    pub(super) fn is_after(&self, life: &str) -> bool {
        parts(life).is_some_and(|(name, number)| self.0.get(name).is_some_and(|latest| *latest > number))
    }

    /// Forgets nodes of which nobody is recorded any more.
    pub(super) fn keep(&mut self, recorded: &Self) {
        self.0.retain(|name, _| recorded.0.contains_key(name));
    }
}

fn parts(life: &str) -> Option<(&str, u64)> {
    let (name, number) = life.rsplit_once('~')?;
    Some((name, number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lives_of_one_node_are_compared() {
        assert_eq!(compare("a~9", "a~10"), Some(Ordering::Less));
        assert_eq!(compare("a~10", "a~10"), Some(Ordering::Equal));
        assert_eq!(compare("a~9", "b~10"), None);
        assert_eq!(compare("a", "a~1"), None);
        assert_eq!(compare("a~x", "a~1"), None);
    }

    #[test]
    fn of_each_node_the_latest_life_is_known_as_long_as_anybody_is_recorded() {
        let (mut latest, mut recorded) = (Latest::default(), Latest::default());
        ["a~10", "a~9", "b~1", "rubbish"].into_iter().for_each(|life| latest.note(life));
        assert!(latest.is_after("a~9") && !latest.is_after("a~10") && !latest.is_after("b~1"));
        recorded.note("b~1");
        latest.keep(&recorded);
        assert!(!latest.is_after("a~9") && latest.is_after("b~0"));
    }
}
