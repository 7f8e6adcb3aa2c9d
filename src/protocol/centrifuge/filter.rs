//! Which publications of a channel a subscriber wants, by their tags.

use std::cmp::Ordering;
use std::hash::{BuildHasher, Hash};

use foldhash::fast::FixedState;

use super::FilterNode;

/// How deep nodes may lie in one another.
const DEPTH: usize = 16;
/// Nodes of one filter. Each publication of the channel is held against all of them.
const NODES: usize = 128;
/// Bytes that keys and values of one filter take, which stays in memory as long as its subscription.
const BYTES: usize = 16 * 1024;
/// Of those, what a value of a list takes beside its text: where it is, and the least that is allocated for it.
const VALUE: usize = size_of::<Box<str>>() + 16;
/// Characters of a number, and how many of them may follow its point.
const NUMBER: usize = 200;
const FRACTION: usize = 19;

/// A filter that is well-formed. Filters that say the same in the same order are equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    hash: u64,
    condition: Condition,
}

/// What is wrong with a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    #[error("op is none of \"and\", \"or\", \"not\" and \"\"")]
    UnknownOp,
    #[error("cmp is none of eq, neq, in, nin, ex, nex, sw, ew, ct, gt, gte, lt and lte")]
    UnknownComparison,
    #[error("a comparison without a key")]
    NoKey,
    #[error("eq, neq, sw, ew, ct, gt, gte, lt and lte want a val, and no vals")]
    WantsVal,
    #[error("in and nin want vals, and no val")]
    WantsVals,
    #[error("ex and nex want neither val nor vals")]
    WantsNone,
    #[error("and, or want nodes")]
    NoNodes,
    #[error("not wants exactly one node")]
    NotOneNode,
    #[error("nodes lie more than {DEPTH} deep in one another")]
    TooDeep,
    #[error("more than {NODES} nodes")]
    TooMany,
    #[error("more than {BYTES} bytes of keys and values, each value of a list counted with {VALUE} more")]
    TooLarge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Condition {
    All(Vec<Self>),
    Any(Vec<Self>),
    Not(Box<Self>),
    Tag(Box<str>, Test),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Test {
    Equals(Box<str>),
    /// Sorted.
    OneOf(Vec<Box<str>>),
    Exists,
    StartsWith(Box<str>),
    EndsWith(Box<str>),
    Contains(Box<str>),
    Compares(Box<str>, Wanted),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Wanted {
    Greater,
    AtLeast,
    Less,
    AtMost,
}

impl Filter {
    /// Reads a filter as clients send it.
    ///
    /// # Errors
    /// When it is not well-formed, or too large.
    pub fn of(node: &FilterNode) -> Result<Self, FilterError> {
        let condition = condition(node, 0, &mut Size::default())?;
        let hash = FixedState::with_seed(7).hash_one(&condition);
        Ok(Self { hash, condition })
    }

    /// Whether a publication with these tags is wanted. Of two tags with one name the last counts.
    #[must_use]
    pub fn passes(&self, tags: &[(String, String)]) -> bool {
        self.condition.holds(tags)
    }

    /// The same for equal filters.
    #[must_use]
    pub const fn hash(&self) -> u64 {
        self.hash
    }
}

/// How much of a filter was read.
#[derive(Default)]
struct Size {
    nodes: usize,
    bytes: usize,
}

impl Size {
    fn add(&mut self, node: &FilterNode) -> Result<(), FilterError> {
        self.nodes += 1;
        self.bytes += node.key.len() + node.val.len() + node.vals.iter().map(|val| VALUE + val.len()).sum::<usize>();
        match (self.nodes > NODES, self.bytes > BYTES) {
            (true, _) => Err(FilterError::TooMany),
            (_, true) => Err(FilterError::TooLarge),
            (false, false) => Ok(()),
        }
    }
}

fn condition(node: &FilterNode, depth: usize, size: &mut Size) -> Result<Condition, FilterError> {
    size.add(node)?;
    if depth >= DEPTH {
        return Err(FilterError::TooDeep);
    }
    let mut nodes = || node.nodes.iter().map(|node| condition(node, depth + 1, size)).collect::<Result<Vec<_>, _>>();
    match &*node.op {
        "" => comparison(node),
        "and" | "or" if node.nodes.is_empty() => Err(FilterError::NoNodes),
        "and" => Ok(Condition::All(nodes()?)),
        "or" => Ok(Condition::Any(nodes()?)),
        "not" => match <[Condition; 1]>::try_from(nodes()?) {
            Ok([negated]) => Ok(Condition::Not(Box::new(negated))),
            Err(_) => Err(FilterError::NotOneNode),
        },
        _ => Err(FilterError::UnknownOp),
    }
}

fn comparison(node: &FilterNode) -> Result<Condition, FilterError> {
    let value = || Box::<str>::from(&*node.val);
    let (test, holds) = match &*node.cmp {
        "eq" => (Test::Equals(value()), true),
        "neq" => (Test::Equals(value()), false),
        "in" | "nin" => (one_of(&node.vals), node.cmp == "in"),
        "ex" => (Test::Exists, true),
        "nex" => (Test::Exists, false),
        "sw" => (Test::StartsWith(value()), true),
        "ew" => (Test::EndsWith(value()), true),
        "ct" => (Test::Contains(value()), true),
        "gt" => (Test::Compares(value(), Wanted::Greater), true),
        "gte" => (Test::Compares(value(), Wanted::AtLeast), true),
        "lt" => (Test::Compares(value(), Wanted::Less), true),
        "lte" => (Test::Compares(value(), Wanted::AtMost), true),
        _ => return Err(FilterError::UnknownComparison),
    };
    match (&test, node.val.is_empty(), node.vals.is_empty()) {
        (Test::OneOf(_), true, false) | (Test::Exists, true, true) => {}
        (Test::OneOf(_), ..) => return Err(FilterError::WantsVals),
        (Test::Exists, ..) => return Err(FilterError::WantsNone),
        (_, false, true) => {}
        _ => return Err(FilterError::WantsVal),
    }
    if node.key.is_empty() && test != Test::Exists {
        return Err(FilterError::NoKey);
    }
    let tag = Condition::Tag(Box::from(&*node.key), test);
    Ok(if holds { tag } else { Condition::Not(Box::new(tag)) })
}

fn one_of(values: &[String]) -> Test {
    let mut values: Vec<Box<str>> = values.iter().map(|value| Box::from(&**value)).collect();
    values.sort_unstable();
    values.dedup();
    Test::OneOf(values)
}

impl Condition {
    fn holds(&self, tags: &[(String, String)]) -> bool {
        match self {
            Self::All(conditions) => conditions.iter().all(|condition| condition.holds(tags)),
            Self::Any(conditions) => conditions.iter().any(|condition| condition.holds(tags)),
            Self::Not(condition) => !condition.holds(tags),
            Self::Tag(key, test) => {
                let value = tags.iter().rev().find(|(name, _)| **name == **key).map(|(_, value)| &**value);
                test.holds(value)
            }
        }
    }
}

impl Test {
    fn holds(&self, value: Option<&str>) -> bool {
        match (self, value) {
            // Whoever lists "" means publications without the tag too.
            (Self::OneOf(values), value) => {
                values.binary_search_by(|known| (**known).cmp(value.unwrap_or_default())).is_ok()
            }
            (Self::Exists, value) => value.is_some(),
            (_, None) => false,
            (Self::Equals(wanted), Some(value)) => **wanted == *value,
            (Self::StartsWith(start), Some(value)) => value.starts_with(&**start),
            (Self::EndsWith(end), Some(value)) => value.ends_with(&**end),
            (Self::Contains(part), Some(value)) => value.contains(&**part),
            (Self::Compares(number, wanted), Some(value)) => match (Decimal::of(value), Decimal::of(number)) {
                (Some(value), Some(number)) => wanted.fits(value.compare(&number)),
                _ => false,
            },
        }
    }
}

impl Wanted {
    const fn fits(self, ordering: Ordering) -> bool {
        match self {
            Self::Greater => ordering.is_gt(),
            Self::AtLeast => ordering.is_ge(),
            Self::Less => ordering.is_lt(),
            Self::AtMost => ordering.is_le(),
        }
    }
}

/// A number as it is written, without exponent: compared exactly, however many places it has.
struct Decimal<'a> {
    negative: bool,
    /// Without zeros in front.
    whole: &'a str,
    /// Without zeros behind.
    fraction: &'a str,
}

impl<'a> Decimal<'a> {
    fn of(text: &'a str) -> Option<Self> {
        if text.len() > NUMBER {
            return None;
        }
        let (negative, digits) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(whole) || !is_number(fraction) || fraction.len() > FRACTION {
            return None;
        }
        let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
        Some(Self { negative: negative && !(whole.is_empty() && fraction.is_empty()), whole, fraction })
    }

    fn compare(&self, other: &Self) -> Ordering {
        let (one, two) =
            ((self.whole.len(), self.whole, self.fraction), (other.whole.len(), other.whole, other.fraction));
        match (self.negative, other.negative) {
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
            (false, false) => one.cmp(&two),
            (true, true) => two.cmp(&one),
        }
    }
}

#[cfg(test)]
mod tests;
