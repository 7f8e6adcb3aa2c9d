//! What is done to a healed cluster while it is looked at: whatever is promised while all is well is promised all the same.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Fault, NODES, Prey, Scene, Step, draw};

/// How long everybody goes on in calm.
pub const CALM_SECONDS: u64 = 12;
/// Longer than a node may be silent, and than all others together may be, which is twice as long (`world/node.toml`).
const SILENT_MS: std::ops::Range<u64> = 10_500..11_000;

/// No node hears the others for a while, and the time of day of each is set, and set right again.
pub fn in_calm(seed: u64, scene: &Scene) -> Vec<Step> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(1);
    let begin = scene.seconds * 1_000;
    let mut steps = Vec::new();
    for node in 0..NODES {
        let silence = Fault::Swallow { node, prey: Prey::Heartbeats, count: 200 };
        steps.push(Step {
            at_ms: begin + rng.random_range(0..1_000),
            for_ms: rng.random_range(SILENT_MS),
            fault: silence,
        });
        let clock = Fault::Clock { node, seconds: draw::seconds_off(&mut rng) };
        steps.push(Step {
            at_ms: begin + rng.random_range(1_000..7_000),
            for_ms: rng.random_range(1_000..5_000),
            fault: clock,
        });
    }
    steps.sort_by_key(|step| step.at_ms);
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_calm_nothing_is_trouble_and_everything_ends() {
        let scene = Scene::new(60, 12, 50);
        for seed in 0..50 {
            let steps = in_calm(seed, &scene);
            assert_eq!(steps.len(), 2 * NODES);
            for step in steps {
                let within = (60_000..60_000 + CALM_SECONDS * 1_000).contains(&step.at_ms)
                    && step.at_ms + step.for_ms <= 60_000 + CALM_SECONDS * 1_000;
                assert!(within && !step.fault.is_trouble(), "{step:?}");
            }
        }
    }
}
