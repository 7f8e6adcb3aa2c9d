//! Tells of streams that keep less or more than this node's settings say: by a metric, and once for each change in the log.

use parking_lot::Mutex;
use tracing::{info, warn};

use super::{Deviation, Info, Plan};
use crate::telemetry::{Label as _, StreamLimit, Telemetry};

/// What was found of a stream when it was looked at last.
#[derive(Debug, Default)]
pub(super) struct Sizes(Mutex<Vec<Deviation>>);

impl Plan {
    /// Compares the stream, as its leader describes it, with what this node wants of it.
    pub fn compare(&self, info: &Info, telemetry: &Telemetry) {
        let (news, is_over) = self.sizes.note(self.deviations(&info.config), telemetry);
        let stream = &self.name;
        for deviation in news {
            if !deviation.is_less() {
                warn!(
                    stream,
                    "{deviation}: the stream keeps more, and is left as it is; nats.shrink_streams would lower it"
                );
            } else if self.provision {
                warn!(
                    stream,
                    "{deviation}: the stream keeps less; a node raises it when it starts or comes back to NATS"
                );
            } else {
                warn!(stream, "{deviation}: the stream keeps less, and nats.provision is off: raise it");
            }
        }
        if is_over {
            info!(stream, "the stream keeps what the settings say");
        }
    }
}

impl Sizes {
    /// Takes what was found, and returns what of it is new, and whether nothing is left of what was found before.
    fn note(&self, found: Vec<Deviation>, telemetry: &Telemetry) -> (Vec<Deviation>, bool) {
        let mut known = self.0.lock();
        let before = std::mem::replace(&mut *known, found.clone());
        for &limit in StreamLimit::ALL {
            let short = |of: &[Deviation]| of.iter().filter(|it| it.limit == limit && it.is_less()).count() as f64;
            telemetry.backplane.streams_below_settings.of(limit).increment(short(&found) - short(&before));
        }
        let is_over = found.is_empty() && !before.is_empty();
        (found.into_iter().filter(|deviation| !before.contains(deviation)).collect(), is_over)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::settings::Namespaces;

    #[test]
    fn what_lasts_is_told_once_and_anew_when_it_changes() {
        let telemetry = Telemetry::new(&Namespaces(HashMap::new()));
        let (one, other) = (Sizes::default(), Sizes::default());
        let copies = |has| Deviation { limit: StreamLimit::Replicas, has, wants: 3 };
        let metric = |count| telemetry.render().contains(&format!("below_settings{{limit=\"replicas\"}} {count}\n"));
        assert_eq!(one.note(vec![copies(2)], &telemetry), (vec![copies(2)], false));
        assert_eq!(one.note(vec![copies(2)], &telemetry), (vec![], false));
        assert_eq!(other.note(vec![copies(1)], &telemetry), (vec![copies(1)], false));
        assert!(metric(2), "{}", telemetry.render());
        assert_eq!(one.note(vec![copies(1)], &telemetry), (vec![copies(1)], false));
        assert_eq!(other.note(vec![copies(5)], &telemetry), (vec![copies(5)], false));
        assert!(metric(1), "more is not less");
        assert_eq!(one.note(vec![], &telemetry), (vec![], true));
        assert_eq!(one.note(vec![], &telemetry), (vec![], false));
        assert!(metric(0));
    }
}
