//! The lives of nodes: `name~number`, of one name the higher number is the later one.

use std::cmp::Ordering;

/// How two lives of one node stand to each other; `None` for those of different nodes.
pub(super) fn compare(one: &str, other: &str) -> Option<Ordering> {
    let (name, number) = one.rsplit_once('~')?;
    let (other_name, other_number) = other.rsplit_once('~')?;
    let numbers = number.parse::<u64>().ok().zip(other_number.parse::<u64>().ok());
    numbers.filter(|_| name == other_name).map(|(number, other)| number.cmp(&other))
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
}
