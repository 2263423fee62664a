//! Several gateways on one store whose calls are slow, fail, and lose their answers, in front of an
//! upstream that does no better, for clients who leave: as seeds have it.
//!
//! Everything runs in one thread by paused time, so a seed is the same each time, with a store in memory. When one
//! fails, its number is shown with all that happened; `CHATKIT_REST_SIMULATION_SEED=N` runs it again,
//! alone. `CHATKIT_REST_SIMULATION_SEEDS=N` runs so many in place of the thousand that are run otherwise, or of
//! the two dozen in PostgreSQL.
//! A seed that found something is kept in `seeds.rs`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends by panicking, and its support is not inside of #[test] functions"
)]

mod accounts;
#[cfg(all(unix, feature = "postgres"))]
#[path = "../postgres/cluster.rs"]
#[allow(dead_code, reason = "what other tests need besides")]
mod cluster;
#[cfg(all(unix, feature = "postgres"))]
mod database;
mod exchange;
mod faults;
#[cfg(all(unix, feature = "postgres"))]
#[path = "../postgres/guarded.rs"]
#[allow(dead_code, reason = "what other tests need besides")]
mod guarded;
mod invariants;
mod others;
#[cfg(all(unix, feature = "postgres"))]
#[path = "../journey/support/place.rs"]
mod place;
mod script;
mod seeds;
mod store;
mod stream;
mod upstream;
mod users;
mod world;

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use faults::Opening;
use script::{Dice, Happened, Trace};
use users::Hand;
use world::{Built, Folder, HANDS, World, memory};

/// How many are run where nobody says it.
const SEEDS: u64 = 1000;

/// And in PostgreSQL, which has real time.
#[cfg(all(unix, feature = "postgres"))]
const SEEDS_IN_POSTGRESQL: u64 = 24;

/// How often each hand does something.
const TIMES: usize = 7;

/// Longer than anything takes that is only slow, and than any call that is made later.
const REST: Duration = Duration::from_secs(60);

/// No seed takes so long, unless something waits for ever.
const FOR_EVER: Duration = Duration::from_secs(24 * 3600);

/// The gateways, made once: those whose first runs hold a session longer than anything lasts, and
/// those that upstreams outlast.
struct Stage {
    long: Vec<Built>,
    short: Vec<Built>,
}

impl Stage {
    fn new() -> Self {
        let stage = Self { long: Built::three("120m"), short: Built::three("1s") };
        // What a gateway asks once in its life is asked before the first seed.
        for seed in 0..2 {
            let built = stage.of(seed);
            let _ = run(built, &memory(), u64::MAX);
        }
        stage
    }

    fn of(&self, seed: u64) -> &[Built] {
        if seed.is_multiple_of(4) { &self.short } else { &self.long }
    }

    fn run(&self, seed: u64, openings: &[Opening]) -> Happened {
        run(self.of(seed), openings, seed)
    }

    /// Runs seeds, which have to hold. All that happened is shown of the first that doesn't.
    fn hold(&self, seeds: impl IntoIterator<Item = u64>, mut store: impl FnMut() -> Vec<Opening>) {
        let (mut first, mut failed) = (None, String::new());
        for seed in seeds {
            let Some((lines, broken)) = self.run(seed, &store()).broken() else { continue };
            first.get_or_insert(lines);
            let _ = write!(failed, "CHATKIT_REST_SIMULATION_SEED={seed} broke:\n{broken}");
        }
        assert!(failed.is_empty(), "\n{}\n{failed}", first.unwrap_or_default());
    }
}

fn run(built: &[Built], openings: &[Opening], seed: u64) -> Happened {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut dice = Dice::new(seed);
        let world = Arc::new(World::new(built, openings, &mut dice));
        let trace = world.trace.clone();
        if timeout(FOR_EVER, play(world, dice)).await.is_err() {
            trace.broken("something waits for ever");
        }
        trace.happened()
    })
}

async fn play(world: Arc<World>, mut dice: Dice) {
    let trace = world.trace.clone();
    let mut hands = Vec::new();
    for user in 0..world.accounts.len() {
        for _ in 0..HANDS {
            let hand = Hand { world: Arc::clone(&world), user, dice: dice.split() };
            hands.push(tokio::spawn(hand.act(TIMES)));
        }
    }
    for hand in hands {
        joined(&trace, hand).await;
        world.check_limits().await;
    }
    world.weather.clear_up();
    trace.note("everything comes to rest");
    world.finished().await;
    sleep(REST).await;
    world.check_limits().await;
    for user in 0..world.accounts.len() {
        let (world, dice) = (Arc::clone(&world), dice.split());
        joined(&trace, tokio::spawn(async move { world.check_user(user, dice).await })).await;
    }
    world.check_limits().await;
    world.check_left();
}

async fn joined(trace: &Trace, task: tokio::task::JoinHandle<()>) {
    if let Err(error) = task.await {
        trace.broken(&format!("somebody panicked: {error}"));
    }
}

/// Gives a number from the environment.
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

#[test]
fn seeds_hold_with_a_store_in_memory() {
    let stage = Stage::new();
    if let Some(seed) = number("CHATKIT_REST_SIMULATION_SEED") {
        return stage.hold([seed], memory);
    }
    stage.hold(0..number("CHATKIT_REST_SIMULATION_SEEDS").unwrap_or(SEEDS), memory);
}

/// Two openings of one file, as two processes have it. What their threads do is not a seed's to
/// say, so one that fails may not fail again.
#[test]
fn seeds_hold_with_a_store_in_a_file() {
    let stage = Stage::new();
    let mut folders = Vec::new();
    let openings = || {
        let folder = Folder::new();
        let openings = (0..2).map(|_| folder.open()).collect();
        folders.push(folder);
        openings
    };
    let (one, all) = (number("CHATKIT_REST_SIMULATION_SEED"), SEEDS / 50);
    match one {
        Some(seed) => stage.hold([seed], openings),
        None => stage.hold(0..all, openings),
    }
}

/// Two openings of one database, as two machines have it. What is done at once has no order there, so a
/// seed that fails may not fail again: `CHATKIT_REST_SIMULATION_SEED=N cargo test --all-features --test
/// simulation in_postgresql` runs it until it does, a hundred times at most.
#[test]
#[cfg(all(unix, feature = "postgres"))]
fn seeds_hold_with_a_store_in_postgresql() {
    let (stage, mut database) = (Stage::new(), database::InPostgres::new());
    if let Some(seed) = number("CHATKIT_REST_SIMULATION_SEED") {
        for _ in 0..100 {
            stage.hold([seed], || database.open());
        }
        return;
    }
    let seeds = number("CHATKIT_REST_SIMULATION_SEEDS").unwrap_or(SEEDS_IN_POSTGRESQL);
    stage.hold(0..seeds, || database.open());
}

#[test]
fn a_seed_is_the_same_each_time() {
    let stage = Stage::new();
    for seed in 0..8 {
        let lines = stage.run(seed, &memory()).lines();
        assert!(lines.lines().count() > 100, "{lines}");
        for (line, again) in lines.lines().zip(stage.run(seed, &memory()).lines().lines()) {
            assert_eq!(line, again, "seed {seed}");
        }
    }
}

/// So that nothing holds only because it never happens.
#[test]
fn everything_happens_in_some_seed() {
    let stage = Stage::new();
    let lines: String = (0..40).map(|seed| stage.run(seed, &memory()).lines()).collect();
    for expected in [
        "runs {",
        "/api/chat {",
        "/cancel → 200",
        " → 401",
        " → 403",
        " → 404",
        " → 409",
        " → 429",
        " → 502",
        " → 503",
        ", cut",
        " → 0, left",
        " → 200, left",
        "bind: Slow(",
        "bind: Sent(",
        "bind: Refused(",
        "bind: Lost(",
        "bind: Late(",
        "begin_run: Lost(",
        "create: Late(",
        "is settled by the store",
        "Unavailable",
    ] {
        assert!(lines.contains(expected), "{expected}");
    }
}
