//! What has come of a survey: who was asked, and who has answered.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::survey::SurveyError;

/// Bytes of all answers to one survey.
const LARGEST: usize = 64 << 20;

/// Answers by node.
pub type Answers = BTreeMap<String, Vec<Box<RawValue>>>;

/// A part of one node's answer.
#[derive(Serialize, Deserialize)]
pub(super) struct Part {
    pub(super) id: u64,
    pub(super) node: String,
    /// Another one for each start of a node: only that one was asked.
    pub(super) process: String,
    pub(super) part: usize,
    pub(super) of: usize,
    /// None where the question was not understood.
    pub(super) body: Option<Box<RawValue>>,
}

/// Who was asked, by process, and what has come of them.
pub(super) struct Asked {
    nodes: BTreeMap<String, Answer>,
    bytes: usize,
}

struct Answer {
    node: String,
    /// How many parts it has, once one has come.
    of: Option<usize>,
    parts: BTreeMap<usize, Box<RawValue>>,
}

impl Answer {
    fn is_complete(&self) -> bool {
        self.of.is_some_and(|of| self.parts.len() >= of)
    }
}

impl Asked {
    /// `processes` are asked, each with the name of its node.
    pub(super) fn new(processes: BTreeMap<String, String>) -> Self {
        let answer = |(process, node)| (process, Answer { node, of: None, parts: BTreeMap::new() });
        Self { nodes: processes.into_iter().map(answer).collect(), bytes: 0 }
    }

    /// Takes a part; one of who was not asked says nothing.
    pub(super) fn take(&mut self, part: Part) -> Result<(), SurveyError> {
        let Some(answer) = self.nodes.get_mut(&part.process) else { return Ok(()) };
        let Some(body) = part.body else { return Err(SurveyError::NotUnderstood(part.node)) };
        self.bytes += body.get().len();
        if self.bytes > LARGEST {
            return Err(SurveyError::TooLarge);
        }
        answer.of = Some(part.of);
        answer.parts.insert(part.part, body);
        Ok(())
    }

    /// Those who have not answered yet, and live: who is no more need not.
    pub(super) fn missing(&self, live: &BTreeMap<String, String>) -> Vec<String> {
        let missing =
            self.nodes.iter().filter(|(process, answer)| !answer.is_complete() && live.contains_key(*process));
        missing.map(|(_, answer)| answer.node.clone()).collect()
    }

    pub(super) fn into_answers(self) -> Answers {
        let complete = self.nodes.into_values().filter(Answer::is_complete);
        complete.map(|answer| (answer.node, answer.parts.into_values().collect())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each node's process has its name in capitals.
    fn processes(names: &[&str]) -> BTreeMap<String, String> {
        names.iter().map(|name| (name.to_uppercase(), (*name).to_owned())).collect()
    }

    fn part(node: &str, process: &str, part: usize, of: usize) -> Part {
        let body = RawValue::from_string(part.to_string()).ok();
        Part { id: 1, node: node.to_owned(), process: process.to_owned(), part, of, body }
    }

    #[test]
    fn who_is_asked_must_answer_whole_and_nobody_else() {
        let mut asked = Asked::new(processes(&["ada", "bob"]));
        let live = processes(&["ada", "bob", "cy"]);
        asked.take(part("ada", "ADA", 1, 2)).unwrap();
        asked.take(part("bob", "BOB", 0, 1)).unwrap();
        assert_eq!(asked.missing(&live), ["ada"], "half of it is missing");
        asked.take(part("cy", "CY", 0, 1)).unwrap();
        asked.take(Part { body: None, ..part("cy", "CY", 0, 1) }).unwrap();
        asked.take(part("ada", "ADA", 0, 2)).unwrap();
        assert!(asked.missing(&live).is_empty());
        let answers = asked.into_answers();
        assert_eq!(answers.keys().collect::<Vec<_>>(), ["ada", "bob"], "cy joined meanwhile");
        assert_eq!(answers["ada"].iter().map(|part| part.get()).collect::<Vec<_>>(), ["0", "1"]);
    }

    #[test]
    fn who_dies_meanwhile_need_not_answer_nor_who_returns_under_its_name() {
        let mut asked = Asked::new(processes(&["ada", "bob"]));
        asked.take(part("ada", "ADA", 0, 1)).unwrap();
        let mut live = processes(&["ada"]);
        assert!(asked.missing(&live).is_empty());
        live.insert("another".to_owned(), "bob".to_owned());
        asked.take(part("bob", "another", 0, 1)).unwrap();
        assert!(asked.missing(&live).is_empty());
        assert_eq!(asked.into_answers().len(), 1);
    }
}
