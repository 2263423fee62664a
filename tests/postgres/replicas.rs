//! Three gateways on one database, under load: one is killed, the database is stopped and killed.
//!
//! A short form runs by default. `CHATKIT_REST_TEST_LOAD=SECONDS` is how long the load lasts; from a
//! minute on the database is away for 20 s of it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::all;
use crate::cluster::{Cluster, Database};
use crate::gateway::Gateway;
use crate::http::{PREFIX, Reply, send};
use crate::pooler::Pooler;
use crate::upstream::Upstream;

const MAX_SESSIONS: usize = 3;
const MAX_MESSAGES: usize = 4;

/// How many users are at it at once.
const USERS: usize = 8;

/// How soon a gateway serves again after its database does.
const RECOVERY: Duration = Duration::from_secs(2);

/// What the users see, and all they do.
struct Load {
    gateways: Vec<SocketAddr>,
    upstream: Upstream,
    /// Which gateway may leave a request without an answer: it is killed.
    killed: AtomicUsize,
    /// Whether the database has been away, in whole or in part.
    is_away: AtomicBool,
    is_over: AtomicBool,
    told: Mutex<Told>,
}

/// What was acknowledged, and how often what was not.
#[derive(Default)]
struct Told {
    /// Whose a session is.
    sessions: HashMap<String, String>,
    /// Runs whose answers came whole.
    runs: HashMap<String, usize>,
    /// Sessions of which a run had no answer, or was refused for the database.
    disturbed: HashSet<String>,
    /// Sessions of which a run was on the gateway that was killed, or may have been just before: what it
    /// had not counted yet is counted by nobody.
    uncounted: HashSet<String>,
    /// When a session's last run was answered.
    answered: HashMap<String, Instant>,
    /// Sessions that were told to be full.
    full: HashSet<String>,
    /// Users who were told to have no session more.
    complete: HashSet<String>,
    unavailable: usize,
    unanswered: usize,
    wrong: Vec<String>,
}

const NONE: usize = usize::MAX;

impl Load {
    fn new(gateways: &[Gateway], upstream: Upstream) -> Arc<Self> {
        Arc::new(Self {
            gateways: gateways.iter().map(Gateway::address).collect(),
            upstream,
            killed: AtomicUsize::new(NONE),
            is_away: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            told: Mutex::default(),
        })
    }

    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().unwrap()
    }

    fn wrong(&self, what: String) {
        self.told().wrong.push(what);
    }

    /// How many sessions and runs were acknowledged so far.
    fn progress(&self) -> usize {
        let told = self.told();
        told.sessions.len() + told.runs.values().sum::<usize>()
    }

    /// Kills a gateway that no request may need any more.
    fn kill(&self, gateways: &mut Vec<Gateway>) {
        self.killed.store(0, Ordering::SeqCst);
        gateways.remove(0).kill();
        // Longer than anything that is only counted takes to be written.
        let lately = Instant::now().checked_sub(Duration::from_secs(2)).unwrap();
        let told = &mut *self.told();
        let uncounted = told.answered.iter().filter(|(_, at)| **at >= lately);
        told.uncounted.extend(uncounted.map(|(id, _)| id.clone()));
    }

    /// Asks a gateway that is not known to be killed. Gives which, and its answer unless there was none,
    /// or a 503.
    async fn ask(
        &self,
        user: &str,
        method: &str,
        path: &str,
        body: Option<&Value>,
        nth: usize,
    ) -> (usize, Option<Reply>) {
        let killed = self.killed.load(Ordering::SeqCst);
        let count = self.gateways.len();
        let chosen = (0..count).map(|n| (nth + n) % count).find(|at| *at != killed).unwrap();
        let was_away = self.is_away.load(Ordering::SeqCst);
        let sent = send(self.gateways[chosen], user, method, path, body).await;
        let answer = match sent {
            Ok(reply) if reply.status == 503 => {
                let is_away = was_away || self.is_away.load(Ordering::SeqCst);
                if !is_away || reply.field("retry-after").is_none() {
                    self.wrong(format!("{method} {path}: {reply:?}"));
                }
                self.told().unavailable += 1;
                None
            }
            Ok(reply) => Some(reply),
            Err(error) => {
                self.unanswered(chosen, &error);
                None
            }
        };
        (chosen, answer)
    }

    fn unanswered(&self, gateway: usize, error: &io::Error) {
        if self.killed.load(Ordering::SeqCst) != gateway {
            self.wrong(format!("gateway {gateway} lives and gave no answer: {error}"));
        }
        self.told().unanswered += 1;
    }

    /// One user after the other, until it is over.
    async fn users(self: Arc<Self>, number: usize) {
        for round in 0.. {
            if self.is_over.load(Ordering::SeqCst) {
                return;
            }
            self.user(&format!("user-{number}-{round}"), number + round).await;
        }
    }

    /// Makes more sessions than it may, on all gateways at once, and fills those it got.
    async fn user(&self, user: &str, nth: usize) {
        let path = format!("{PREFIX}/sessions");
        let creates = (0..MAX_SESSIONS + 2).map(|n| self.ask(user, "POST", &path, None, nth + n));
        let mut made = Vec::new();
        for reply in all(creates).await.into_iter().filter_map(|(_, reply)| reply) {
            match reply.status {
                200 => {
                    let id = reply.json()["data"]["id"].as_str().unwrap().to_owned();
                    self.told().sessions.insert(id.clone(), user.to_owned());
                    made.push(id);
                }
                429 if reply.code() == "SESSION_LIMIT" => {
                    self.told().complete.insert(user.to_owned());
                }
                _ => self.wrong(format!("a session is made: {reply:?}")),
            }
        }
        for id in made {
            self.fill(user, &id, nth).await;
        }
    }

    /// Runs on a session, on all gateways at once, until it is told to be full.
    async fn fill(&self, user: &str, id: &str, nth: usize) {
        let path = format!("{PREFIX}/sessions/{id}/threads/{id}/runs");
        let body = json!({ "message": id });
        for round in 0..MAX_MESSAGES * 4 {
            let runs = (0..3).map(|n| self.ask(user, "POST", &path, Some(&body), nth + round + n));
            let mut is_full = true;
            for (gateway, reply) in all(runs).await {
                self.told().answered.insert(id.to_owned(), Instant::now());
                if gateway == self.killed.load(Ordering::SeqCst) {
                    self.told().uncounted.insert(id.to_owned());
                }
                let Some(reply) = reply else {
                    is_full = false;
                    self.told().disturbed.insert(id.to_owned());
                    continue;
                };
                let code = if reply.status == 200 { String::new() } else { reply.code() };
                match (reply.status, &*code) {
                    (200, _) => *self.told().runs.entry(id.to_owned()).or_default() += 1,
                    // Another one makes the thread.
                    (409, "CONFLICT") => {}
                    (429, "MESSAGE_LIMIT") => continue,
                    _ => self.wrong(format!("a run of {user}'s {id}: {reply:?}")),
                }
                is_full = false;
            }
            if is_full {
                self.told().full.insert(id.to_owned());
                break;
            }
            if self.is_over.load(Ordering::SeqCst) {
                break;
            }
        }
        // Nobody else may, on any gateway.
        if let (_, Some(reply)) = self.ask("eve", "POST", &path, Some(&body), nth).await
            && (reply.status, &*reply.code()) != (403, "FORBIDDEN")
        {
            self.wrong(format!("eve on {user}'s {id}: {reply:?}"));
        }
    }

    /// Waits until a gateway makes a session, and gives how long that took since `from`.
    async fn serves(&self, at: SocketAddr, from: Instant) -> Duration {
        let path = format!("{PREFIX}/sessions");
        loop {
            let user = format!("probe-{}", uuid::Uuid::new_v4());
            if send(at, &user, "POST", &path, None).await.is_ok_and(|reply| reply.status == 200) {
                return from.elapsed();
            }
            assert!(from.elapsed() < RECOVERY * 5, "{at} does not recover");
        }
    }

    /// Looks for everything that was acknowledged, and for what must not be.
    async fn check(&self, alive: SocketAddr, database: &Database) {
        let told = std::mem::take(&mut *self.told());
        assert!(told.wrong.is_empty(), "{:#?}", told.wrong);
        assert_eq!(self.upstream.wrong(), Vec::<String>::new());
        let bound = bound(database).await;
        let mut of_users = BTreeMap::<&str, Vec<&str>>::new();
        for (id, user) in &told.sessions {
            of_users.entry(user).or_default().push(id);
        }
        let mut threads = HashMap::<&str, Vec<&str>>::new();
        let by_thread = self.upstream.threads();
        for (thread_id, thread) in &by_thread {
            threads.entry(&thread.session).or_default().push(thread_id);
        }
        for (user, ids) in of_users {
            // What another gateway has only counted may come a little later.
            let is_disturbed =
                |id: &str| told.disturbed.contains(id) || told.uncounted.contains(id);
            let counts = |listed: &Listed| {
                ids.iter().filter(|id| !is_disturbed(id)).all(|id| {
                    let session = listed.get(*id);
                    session.is_none_or(|it| it["message_count"] == self.upstream.messages(id))
                })
            };
            let until = Instant::now() + Duration::from_secs(5);
            let mut listed = list(alive, user).await;
            while !counts(&listed) && Instant::now() < until {
                listed = list(alive, user).await;
            }
            // Those that nobody was told of count, too.
            assert!(listed.len() <= MAX_SESSIONS, "{user} has {}", listed.len());
            if told.complete.contains(user) {
                assert_eq!(listed.len(), MAX_SESSIONS, "{user} was told to be complete");
            }
            for &id in &ids {
                let session = listed.get(id).unwrap_or_else(|| panic!("{user}'s {id} is lost"));
                assert_eq!(session["user_id"], user);
                let messages = self.upstream.messages(id);
                let runs = told.runs.get(id).copied().unwrap_or(0);
                assert!(runs <= messages, "{id}: {runs} runs of {messages} messages");
                // The thread that it is bound to was made for it.
                let threads = threads.get(id).map_or(&[][..], |threads| threads);
                let thread = bound.get(id).map(|it| &**it);
                assert!(thread.is_none_or(|it| threads.contains(&it)), "{id}: {thread:?}");
                if told.uncounted.contains(id) {
                    continue;
                }
                let in_thread = thread.map_or(0, |it| by_thread[it].messages);
                assert!(in_thread <= MAX_MESSAGES, "{id} has {in_thread} messages in {thread:?}");
                if told.disturbed.contains(id) {
                    continue;
                }
                // No thread was made twice, and nothing was counted twice or not.
                assert_eq!(threads.len(), usize::from(thread.is_some()), "{id}: {threads:?}");
                assert_eq!(session["message_count"], messages, "{session}");
                if told.full.contains(id) {
                    assert_eq!(messages, MAX_MESSAGES, "{id} was told to be full");
                }
            }
        }
        let is_whole =
            |id: &&String| !told.disturbed.contains(*id) && !told.uncounted.contains(*id);
        // Enough to have shown something, on a machine that is slow and busy too.
        assert!(told.full.iter().filter(is_whole).count() > 2 && told.complete.len() > 2);
    }
}

/// Gives the threads of all sessions that have one, as the tables have them.
async fn bound(database: &Database) -> HashMap<String, String> {
    let sql = format!(
        "SELECT id::text, convert_from(thread_id, 'UTF8') FROM {}.session
            WHERE thread_id IS NOT NULL",
        database.schema()
    );
    let rows = database.connect().await.query(&sql, &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

type Listed = BTreeMap<String, Value>;

/// Gives a user's sessions by their ids.
async fn list(at: SocketAddr, user: &str) -> Listed {
    let reply = send(at, user, "GET", &format!("{PREFIX}/sessions"), None).await.unwrap();
    assert_eq!(reply.status, 200, "{reply:?}");
    let data = reply.json()["data"].take();
    let Value::Array(sessions) = data else { panic!("no list: {data}") };
    let count = sessions.len();
    let of = |session: &Value| session["id"].as_str().unwrap().to_owned();
    let listed: Listed = sessions.into_iter().map(|session| (of(&session), session)).collect();
    assert_eq!(listed.len(), count, "{user} has a session twice: {listed:?}");
    listed
}

/// How long the load lasts, and the outage within it.
fn lengths() -> (Duration, Duration) {
    let load = std::env::var("CHATKIT_REST_TEST_LOAD").ok();
    let load = load.map_or(8, |seconds| seconds.parse().unwrap());
    (Duration::from_secs(load), Duration::from_secs(if load >= 60 { 20 } else { 3 }))
}

fn settings<'a>(database: &'a Database, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut settings = vec![
        ("STORE__URL", database.url()),
        ("STORE__SCHEMA", database.schema()),
        // A machine that is busy is not what is tested.
        ("STORE__WAIT_TIMEOUT", "20s"),
        ("STORE__STATEMENT_TIMEOUT", "20s"),
        ("LIMITS__MAX_SESSIONS", "3"),
        ("LIMITS__MAX_MESSAGES", "4"),
    ];
    settings.extend(more);
    settings
}

async fn readiness(at: SocketAddr) -> u16 {
    send(at, "ada", "GET", "/readyz", None).await.unwrap().status
}

async fn is_ready(at: SocketAddr, status: u16) {
    let until = Instant::now() + Duration::from_secs(20);
    while readiness(at).await != status {
        assert!(Instant::now() < until, "{at} is not {status}");
        // It gives its last answer again for a second.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Lets the load go on for so long, and expects that something came of it.
async fn go_on(load: &Load, length: Duration) {
    let before = load.progress();
    tokio::time::sleep(length).await;
    let until = Instant::now() + Duration::from_secs(60);
    while load.progress() < before + 50 {
        assert!(Instant::now() < until, "nothing goes on: {:#?}", load.told().wrong);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_doubled_or_crossed_when_gateways_and_the_database_die() {
    let (length, outage) = lengths();
    let cluster = Cluster::start();
    let database = cluster.database().await;
    let upstream = Upstream::start().await;
    let settings = settings(&database, &[]);
    let mut gateways: Vec<_> = (0..3).map(|_| Gateway::start(&upstream, &settings)).collect();
    let load = Load::new(&gateways, upstream);
    for gateway in &gateways {
        is_ready(gateway.address(), 200).await;
    }
    let mut users = JoinSet::new();
    for number in 0..USERS {
        users.spawn(Arc::clone(&load).users(number));
    }

    go_on(&load, length / 4).await;
    load.kill(&mut gateways);
    go_on(&load, length / 4).await;

    let alive: Vec<_> = gateways.iter().map(Gateway::address).collect();
    for end in [Cluster::stop, Cluster::kill] {
        load.is_away.store(true, Ordering::SeqCst);
        end(&cluster);
        let stopped = Instant::now();
        for at in &alive {
            is_ready(*at, 503).await;
            let create = format!("{PREFIX}/sessions");
            let reply = send(*at, "ada", "POST", &create, None).await.unwrap();
            assert_eq!((reply.status, &*reply.code()), (503, "SERVICE_UNAVAILABLE"));
            assert!(reply.field("retry-after").is_some(), "{reply:?}");
        }
        tokio::time::sleep_until(stopped + outage).await;
        cluster.start_again();
        let back = Instant::now();
        let serving = all(alive.iter().map(|at| load.serves(*at, back)));
        let connecting = async {
            database.connect().await.batch_execute("SELECT 1").await.unwrap();
            back.elapsed()
        };
        // How long a connection takes that nobody waits for, on a machine that is busy.
        let (took, one) = tokio::join!(serving, connecting);
        assert!(took.iter().all(|took| *took <= RECOVERY + one * 2), "{took:?} beside {one:?}");
        for at in &alive {
            is_ready(*at, 200).await;
        }
        load.is_away.store(false, Ordering::SeqCst);
        go_on(&load, length / 4).await;
    }

    load.is_over.store(true, Ordering::SeqCst);
    while let Some(ended) = users.join_next().await {
        ended.unwrap();
    }
    assert!(load.told().unavailable > 0, "the outage was noticed");
    load.check(alive[0], &database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_goes_and_comes_back_is_a_line_each_in_the_log() {
    let cluster = Cluster::start_with("fsync = off\n");
    let database = cluster.database().await;
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream, &settings(&database, &[]));
    let at = gateway.address();
    is_ready(at, 200).await;
    for end in [Cluster::stop, Cluster::kill] {
        end(&cluster);
        is_ready(at, 503).await;
        for _ in 0..3 {
            let create = format!("{PREFIX}/sessions");
            assert_eq!(send(at, "ada", "POST", &create, None).await.unwrap().status, 503);
        }
        cluster.start_again();
        is_ready(at, 200).await;
    }
    let said = gateway.said();
    let of = ["the database is away", "the database is back", "deadpool", "tokio_postgres"];
    assert_eq!(of.map(|text| said.matches(text).count()), [2, 2, 0, 0], "{said}");
}

// What is prepared in a connection, or set there, would be another gateway's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_are_exact_through_a_pooler() {
    let database = Database::new().await;
    let pooler = Pooler::shared(&database);
    let upstream = Upstream::start().await;
    let url = database.url_at(pooler.address());
    let more = [("STORE__URL", &*url), ("STORE__POOLER", "true")];
    let settings = settings(&database, &more);
    let gateways: Vec<_> = (0..3).map(|_| Gateway::start(&upstream, &settings)).collect();
    let load = Load::new(&gateways, upstream);
    let mut users = JoinSet::new();
    for number in 0..USERS {
        users.spawn(Arc::clone(&load).users(number));
    }
    go_on(&load, Duration::from_secs(2)).await;
    load.is_over.store(true, Ordering::SeqCst);
    while let Some(ended) = users.join_next().await {
        ended.unwrap();
    }
    load.check(gateways[0].address(), &database).await;
}

/// How long a gateway that says nothing counts as alive, and what the others take to notice it.
const DEATH: Duration = Duration::from_secs(20 + 5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn places_of_a_dead_gateways_runs_come_back() {
    let database = Database::new().await;
    let upstream = Upstream::start().await;
    let settings = settings(&database, &[("LIMITS__MAX_MESSAGES", "2")]);
    let dying = Gateway::start(&upstream, &settings);
    let other = Gateway::start(&upstream, &settings);
    let (at, there) = (dying.address(), other.address());
    let create = format!("{PREFIX}/sessions");
    let mut ids = Vec::new();
    for _ in 0..2 {
        let made = send(there, "ada", "POST", &create, None).await.unwrap();
        ids.push(made.json()["data"]["id"].as_str().unwrap().to_owned());
    }
    let run = async |at: SocketAddr, id: &str, slow: &str| {
        let path = format!("{PREFIX}/sessions/{id}/threads/{id}/runs");
        let body = json!({ "message": format!("{id}{slow}") });
        send(at, "ada", "POST", &path, Some(&body)).await
    };
    let [unbound, bound] = &ids[..] else { unreachable!("there are two") };
    assert_eq!(run(there, bound, "").await.unwrap().status, 200);
    // A first run, and one that has the last place of its session.
    let slow = all([unbound, bound].into_iter().map(|id| run(at, id, Upstream::SLOW)));
    let mut slow = std::pin::pin!(slow);
    let begun = async {
        while upstream.messages(unbound) < 1 || upstream.messages(bound) < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        answered = &mut slow => panic!("{answered:?}"),
        () = begun => {}
    }
    let refused = run(there, unbound, "").await.unwrap();
    assert_eq!((refused.status, &*refused.code()), (409, "CONFLICT"));
    let refused = run(there, bound, "").await.unwrap();
    assert_eq!((refused.status, &*refused.code()), (429, "MESSAGE_LIMIT"));
    dying.kill();
    assert!(slow.await.iter().all(Result::is_err), "nobody answers any more");
    let until = Instant::now() + DEATH;
    for id in [unbound, bound] {
        while run(there, id, "").await.unwrap().status != 200 {
            assert!(Instant::now() < until, "{id} keeps the place of a run that is dead");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    // It is one place, and not more.
    let refused = run(there, bound, "").await.unwrap();
    assert_eq!((refused.status, &*refused.code()), (429, "MESSAGE_LIMIT"));
    upstream.answer_slow_ones();
    assert_eq!(upstream.wrong(), Vec::<String>::new());
}
