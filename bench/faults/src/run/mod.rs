//! One run: everything starts, things break by the schedule, everything is healed, and what must be so then is looked at.

mod breaking;
mod cast;
mod late;
mod looking;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use crate::checker::CALM_AFTER;
use crate::journal::{Entry, Journal, Manifest, Order, Phase};
use crate::plan::{self, Fault, Scene, Step};
use crate::world::{Programs, World};

use cast::Cast;

/// How long an order may take with everything healed, on a busy machine.
const ORDERS: Duration = Duration::from_secs(20);
/// How long everybody goes on once nothing was broken for [`CALM_AFTER`]: what is judged in calm only is judged there.
const CALM: Duration = Duration::from_secs(plan::CALM_SECONDS);

/// What a run is to be.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    pub seed: u64,
    pub seconds: u64,
    pub clients: usize,
    /// Of the official JavaScript SDK, besides.
    pub sdk: usize,
    /// Of Socket.IO, besides.
    pub sockets: usize,
    pub pace_ms: u64,
    pub patience: Duration,
    /// How long clients stay once all are back. Where that is long enough, they go on in calm for a while.
    pub settle: Duration,
}

/// Runs one seed and leaves what everybody did and saw in the directory.
///
/// # Errors
/// When the cluster does not even start, or the machine does not play along. What clients and publishers meet is no
/// error: it is in the journal.
pub async fn run(programs: &Programs, options: Options, directory: &Path) -> anyhow::Result<()> {
    let Options { seed, patience, .. } = options;
    let scene = Scene::new(options.seconds, options.clients, options.pace_ms)
        .with_sdk(options.sdk, seed)
        .with_sockets(options.sockets, seed);
    let mut steps = plan::steps(seed, &scene);
    let calm = options.settle >= CALM_AFTER + CALM;
    if calm {
        steps.extend(plan::in_calm(seed, &scene));
    }
    if programs.faketime.is_none() {
        steps.retain(|step| !matches!(step.fault, Fault::Clock { .. }));
    }
    let manifest = Manifest { seed, scene: scene.clone(), steps: steps.clone(), patience: patience.as_secs(), calm };
    let journal = Arc::new(Journal::begin(directory, &manifest)?);
    let _noted = AbortOnDropHandle::new(tokio::spawn(late::note(Arc::clone(&journal))));
    let begin = |phase| journal.write(Entry::PhaseBegan { phase });
    let directory = std::path::absolute(directory)?;
    let mut world = World::start(programs, &directory, &scene, &journal).await?;
    let mut cast = Cast::enter(&mut world, &scene, &journal, seed).await?;
    let world = world;
    begin(Phase::Before);
    anyhow::ensure!(wait(patience, async || cast.all_subscribed()).await, "clients cannot even begin");
    looking::scrape(&world, Phase::Before, &journal).await;
    cast.publish();

    begin(Phase::Faults);
    let (deadline, end) = (Instant::now() + Duration::from_secs(options.seconds), options.seconds * 1_000);
    tokio::select! {
        ((), ()) = async { tokio::join!(breaking::all(&world, &cast, &steps, 0..end, &journal), sleep_until(deadline)) } => {}
        () = looking::keep_looking(&world, Phase::Faults) => {}
    }
    breaking::heal_all(&world, &cast, &steps).await;

    begin(Phase::Healed);
    let healed = Instant::now();
    if wait(patience, async || looking::all_ready(&world).await).await {
        journal.write(Entry::AllReady);
    }
    if wait(patience.saturating_sub(healed.elapsed()), async || cast.all_subscribed()).await {
        journal.write(Entry::AllSubscribed);
    }
    let back = Instant::now();
    if calm {
        go_on_in_calm(&world, &cast, &steps, end, healed + CALM_AFTER, &journal).await;
    }
    cast.stop_publishing().await;
    cast.barriers(patience).await;
    cast.order_users(Order::Disconnect, ORDERS).await;
    cast.order_users(Order::Unsubscribe, ORDERS).await;
    cast.revoke().await;
    looking::presence(&world, Phase::Healed, patience, &journal, || cast.present()).await;
    let clients = scene.everybody().count();
    wait(patience, async || looking::only_so_many(&world, clients).await).await;
    wait(ORDERS, async || looking::all_agree(&world).await).await;
    looking::scrape(&world, Phase::Healed, &journal).await;

    sleep(options.settle.saturating_sub(back.elapsed())).await;
    begin(Phase::Gone);
    cast.leave().await;
    looking::presence(&world, Phase::Gone, patience, &journal, || cast.present()).await;
    wait(patience, async || looking::nobody_left(&world).await).await;
    looking::scrape(&world, Phase::Gone, &journal).await;
    journal.flush()?;
    Ok(())
}

/// Lets everybody go on until calm has lasted, with what the schedule has for it from this time on.
async fn go_on_in_calm(
    world: &World,
    cast: &Cast,
    steps: &[Step],
    from_ms: u64,
    calm_begins: Instant,
    journal: &Journal,
) {
    let in_calm = async {
        sleep_until(calm_begins).await;
        let lasts = Instant::now() + CALM;
        tokio::join!(breaking::all(world, cast, steps, from_ms..u64::MAX, journal), sleep_until(lasts))
    };
    tokio::select! {
        ((), ()) = in_calm => {}
        () = looking::keep_looking(world, Phase::Healed) => {}
    }
}

/// Waits until it is so; false when it took too long.
pub(super) async fn wait(patience: Duration, so: impl AsyncFn() -> bool) -> bool {
    let begun = Instant::now();
    loop {
        if so().await {
            return true;
        }
        if begun.elapsed() > patience {
            return false;
        }
        sleep(Duration::from_millis(100)).await;
    }
}
