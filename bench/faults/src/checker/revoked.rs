//! Tokens that were taken back. Once that is acknowledged, no node lets anybody in with them, and who is in is sent away: at
//! once while all is well, and in trouble as soon as their node can know of it.

use std::collections::HashMap;

use super::{Report, Verdict, at};
use crate::journal::{Entry, Line, REVOKED};

/// What is promised with everything healed, but for what this machine itself was late meanwhile.
const AT_ONCE: u64 = 1_000_000;
/// In trouble: within this a node knows of it, or that it may know too little.
const IN_TROUBLE: u64 = 45_000_000;

struct Stay<'a> {
    user: &'a str,
    node: &'a str,
    since: u64,
    until: Option<(u64, u32)>,
}

pub fn judge(lines: &[Line], report: &mut Report) {
    let mut stays: HashMap<u64, Stay> = HashMap::new();
    let mut revoked: HashMap<&str, u64> = HashMap::new();
    let mut healed = u64::MAX;
    let mut late: Vec<(u64, u64)> = Vec::new();
    for line in lines {
        match &line.entry {
            Entry::LastVisits => healed = line.at,
            Entry::LetIn { user, node, connection } => {
                stays.insert(*connection, Stay { user, node, since: line.at, until: None });
            }
            Entry::SentAway { connection, code } => {
                stays.entry(*connection).and_modify(|stay| stay.until = Some((line.at, *code)));
            }
            Entry::Revoked { user } => drop(revoked.insert(user, line.at)),
            Entry::Late { micros } => late.push((line.at, *micros)),
            _ => {}
        }
    }
    // How late the run itself was between two times.
    let late = |from: u64, to: u64| -> u64 {
        late.iter().filter(|(at, micros)| *at > from && at.saturating_sub(*micros) < to).map(|(_, micros)| micros).sum()
    };
    let (mut let_in, mut slowest) = (0, 0);
    for Stay { user, node, since, until } in stays.values() {
        let Some(revoked) = revoked.get(user) else { continue };
        let_in += u64::from(since > revoked);
        // What was revoked in trouble has no more time once everything is healed than what is revoked then.
        let within = |began: u64| if began > healed { AT_ONCE } else { IN_TROUBLE };
        if *since > revoked + within(*since) + late(*revoked, *since) {
            let what = format!("{user} was let in by {node} at {}, revoked at {}", at(*since), at(*revoked));
            report.find(Verdict::Unrevoked, what);
        }
        let begun = *revoked.max(since);
        let there = format!("revoked at {}, there since {}", at(*revoked), at(*since));
        match until {
            None => report.find(Verdict::Unrevoked, format!("{user} stayed at {node}, {there}")),
            Some((until, _)) if begun > healed && *until > begun + AT_ONCE + late(begun, *until) => {
                report.find(Verdict::Unrevoked, format!("{user} stayed at {node} until {}, {there}", at(*until)));
            }
            // Silence sends nobody away.
            Some((until, code)) if *since > healed && *until > *revoked && *code != REVOKED => {
                report.find(Verdict::Unrevoked, format!("{user} was not sent away by {node} but {code}, {there}"));
            }
            Some((until, _)) if begun > healed => slowest = slowest.max(until.saturating_sub(begun)),
            Some(_) => {}
        }
    }
    report.count("tokens revoked", revoked.len() as u64);
    report.count("let in late", let_in);
    report.count("slowest sent away in the end (ms)", slowest / 1_000);
}
