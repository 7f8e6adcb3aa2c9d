//! Reads records page after page, until everything that there was has been read.

use std::time::Duration;

use tokio::time::sleep;

use super::Presence;
use crate::backplane::{PresenceError, Presences, Record, Source, Whose};

/// Records in one page.
const PAGE: usize = 1000;
/// How often a replica that lags is asked again before the rest is left to the authority.
const ATTEMPTS: usize = 10;
const LAG: Duration = Duration::from_millis(50);

/// Records from a revision on, up to the newest that there was when it began; perhaps some newer ones.
pub(super) struct Reading<'a> {
    records: &'a dyn Presences,
    whose: Whose<'a>,
    next: u64,
    newest: u64,
    source: Source,
    attempts: usize,
}

impl<'a> Reading<'a> {
    pub(super) fn new(records: &'a dyn Presences, whose: Whose<'a>, from: u64, newest: u64) -> Self {
        Self { records, whose, next: from, newest, source: Source::Replica, attempts: 0 }
    }

    /// The next records, ascending; `None` once there are no more.
    ///
    /// # Errors
    /// When they cannot be read; then what came before is not all.
    pub(super) async fn page(&mut self) -> Result<Option<Vec<Record>>, PresenceError> {
        while self.next <= self.newest {
            let page = self.records.page(self.whose, self.next, PAGE, self.source).await?;
            self.next = page.next.max(self.next);
            if !page.more && self.next <= self.newest {
                match self.source {
                    // What was the newest has been overwritten or has expired since.
                    Source::Authority => self.next = self.newest + 1,
                    Source::Replica if self.attempts >= ATTEMPTS => self.source = Source::Authority,
                    Source::Replica => {
                        self.attempts += 1;
                        sleep(LAG).await;
                    }
                }
            }
            if !page.records.is_empty() {
                return Ok(Some(page.records));
            }
        }
        Ok(None)
    }

    /// Up to where everything was read.
    pub(super) const fn to(&self) -> u64 {
        self.next - 1
    }
}

impl Presence {
    /// Reads all records of `whose` that there are now.
    pub(super) async fn each_record(
        &self,
        whose: Whose<'_>,
        mut each: impl FnMut(Record),
    ) -> Result<(), PresenceError> {
        let records = self.records()?;
        let mut reading = Reading::new(records, whose, 1, records.newest(whose).await?);
        while let Some(page) = reading.page().await? {
            page.into_iter().for_each(&mut each);
        }
        Ok(())
    }
}
