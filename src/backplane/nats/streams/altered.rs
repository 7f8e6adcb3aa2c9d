//! What somebody altered of a stream while nodes run: what is delivered, and what is stored, hangs on more than sizes. It is
//! put right at once; what cannot be stands in the way of being ready.

use parking_lot::Mutex;
use tracing::{debug, info, warn};

use super::{Difference, Info, Link, Plan, StreamError};
use crate::telemetry::{Alteration, Telemetry};

/// What stands altered, and why it is not put right.
#[derive(Debug, Default)]
pub(super) struct Altered(Mutex<Option<String>>);

impl Plan {
    /// Puts right what somebody altered of the stream that its leader describes; whether it did. How much is kept is another
    /// matter ([`deviations`](Self::deviations)).
    pub async fn put_right(&self, link: &Link, info: &Info, telemetry: &Telemetry) -> bool {
        let (put_right, stands) = match self.restore_config(link, info).await {
            Ok(put_right) => (put_right, None),
            Err(error) if error.is_transient() => {
                debug!(stream = self.name, %error, "not known whether the stream is put right");
                return false;
            }
            Err(error) => (false, Some(error.to_string())),
        };
        if put_right {
            warn!(stream = self.name, "somebody altered the stream: it is put right");
            telemetry.backplane.stream_alterations.of(Alteration::PutRight).increment(1);
        }
        if stands.is_some() {
            telemetry.backplane.stream_alterations.of(Alteration::Standing).increment(1);
        }
        let before = std::mem::replace(&mut *self.altered.0.lock(), stands.clone());
        match stands {
            Some(why) if before.as_ref() != Some(&why) => warn!("somebody altered a stream: {why}"),
            None if before.is_some() => info!(stream = self.name, "the stream is as it should be again"),
            Some(_) | None => {}
        }
        put_right
    }

    /// Why the stream is not as it must be, where nobody could put it right.
    pub fn stands_altered(&self) -> Option<String> {
        self.altered.0.lock().clone()
    }

    async fn restore_config(&self, link: &Link, info: &Info) -> Result<bool, StreamError> {
        let differences = self.alterations(info);
        if differences.is_empty() {
            return Ok(false);
        }
        let mut config = info.config.clone();
        config.extend(differences.iter().map(|difference| (difference.field.clone(), difference.wants.clone())));
        let different = |differences, why| StreamError::Different { stream: self.name.clone(), differences, why };
        if !self.provision {
            return Err(different(differences, self.for_the_provisioner(&config)));
        }
        let updated = self.update(link, &config, differences).await?;
        let left = self.alterations(&updated);
        if left.is_empty() {
            return Ok(true);
        }
        Err(different(left, "the server ignored what it was told".to_owned()))
    }

    fn alterations(&self, info: &Info) -> Vec<Difference> {
        let sizes = self.deviations(&info.config);
        let is_a_size = |difference: &Difference| sizes.iter().any(|size| size.limit.field() == difference.field);
        let differences = self.differences(&info.config).into_iter();
        differences.filter(|difference| !is_a_size(difference) && !self.is_the_provisioners(difference)).collect()
    }
}
