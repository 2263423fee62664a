//! Gateways that share a store and an upstream.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use chatkit_rest::bytes::Bytes;
use chatkit_rest::config::{ApiKey, Config, Sources};
use chatkit_rest::error::BoxError;
use chatkit_rest::health::HealthLayer;
use chatkit_rest::http::{Request, Response};
use chatkit_rest::http_body_util::combinators::UnsyncBoxBody;
use chatkit_rest::http_body_util::{BodyExt, Full};
use chatkit_rest::principal::UserId;
use chatkit_rest::proxy::Rooms;
use chatkit_rest::session::{
    Found, MemoryStore, SessionId, SessionKey, SessionRecord, SessionStore, SessionSummary,
    SessionsPage, SqliteStore,
};
use jsonwebtoken::{EncodingKey, Header};
use serde_json::json;
use tower::util::BoxCloneService;
use tower::{Service, ServiceExt as _};

use crate::accounts::{Account, USERS};
use crate::faults::{Binds, Ground, Opening};
use crate::script::{Clock, Dice, Trace, Weather};
use crate::store::Faulty;
use crate::upstream::ChatKit;

pub(crate) const PREFIX: &str = "/api/v1/chatkit";
pub(crate) const MAX_SESSIONS: usize = 4;
/// One more than two answered runs leave, so that there is room for one of two at once.
pub(crate) const MAX_MESSAGES: usize = 5;
/// How many requests a user may have under way.
pub(crate) const HANDS: usize = 2;

const SECRET: &str = "a-planted-secret-that-is-long-enough-for-hs256";
const KEY: &str = "sk-planted-key";
const NAMES: [&str; 3] = ["A", "B", "C"];

/// What a gateway is made of, which is used seed after seed: to make it takes longer than a seed.
pub(crate) struct Built {
    store: Arc<Faulty>,
    rooms: Rooms,
}

impl Built {
    /// Makes three, whose first runs hold their sessions for so long.
    pub(crate) fn three(idle_timeout: &'static str) -> Vec<Self> {
        let config = config(idle_timeout);
        let build = |_| {
            let store = Arc::new(Faulty::default());
            let shared = Arc::<Faulty>::clone(&store);
            let rooms = Rooms::from_config(&config, shared, HealthLayer::elsewhere()).unwrap();
            Self { store, rooms }
        };
        NAMES.iter().map(build).collect()
    }
}

fn config(idle_timeout: &str) -> Config {
    let keys = format!("support={}", ApiKey::of("support", KEY).unwrap().digest());
    let (sessions, messages) = (MAX_SESSIONS.to_string(), MAX_MESSAGES.to_string());
    let settings = [
        ("auth.secret", SECRET),
        ("store.url", "memory:"),
        ("openai.api_keys", &keys),
        ("limits.requests_per_minute", "0"),
        ("limits.max_sessions", &sessions),
        ("limits.max_messages", &messages),
        ("chat.max_sessions", &sessions),
        ("chat.max_messages", &messages),
        ("chat.id_format", "integer"),
        ("upstream.connect_timeout", "100ms"),
        ("upstream.first_byte_timeout", "100ms"),
        ("upstream.idle_timeout", idle_timeout),
    ];
    let set = |sources: Sources, (key, value)| sources.set("test", key, value);
    settings.into_iter().fold(Sources::new(), set).load().expect("a configuration").config
}

type Answered = Response<UnsyncBoxBody<Bytes, BoxError>>;

/// One of the gateways, in the one seed.
pub(crate) struct Gateway(Mutex<BoxCloneService<Request<Full<Bytes>>, Answered, BoxError>>);

impl Gateway {
    fn new(built: &Built, upstream: ChatKit) -> Self {
        let rooms = built.rooms.around(upstream);
        let service = tower::service_fn(move |request: Request<Full<Bytes>>| {
            let mut rooms = rooms.clone();
            async move {
                let response = rooms.ready().await.map_err(Into::into)?.call(request).await;
                Ok(response.map_err(Into::into)?.map(BodyExt::boxed_unsync))
            }
        });
        Self(Mutex::new(BoxCloneService::new(service)))
    }

    pub(crate) async fn ask(&self, request: Request<Full<Bytes>>) -> Result<Answered, BoxError> {
        let service = self.0.lock().unwrap().clone();
        service.oneshot(request).await
    }
}

/// All that there is in one seed.
pub(crate) struct World {
    pub(crate) gateways: Vec<Gateway>,
    pub(crate) upstream: ChatKit,
    pub(crate) accounts: Vec<Mutex<Account>>,
    pub(crate) trace: Trace,
    pub(crate) weather: Weather,
    pub(crate) binds: Arc<Binds>,
    /// Without any faults.
    store: Opening,
    tokens: Vec<String>,
    built: Vec<Rooms>,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").finish_non_exhaustive()
    }
}

impl World {
    /// Makes one of these gateways, each with an opening of a store.
    pub(crate) fn new(built: &[Built], openings: &[Opening], dice: &mut Dice) -> Self {
        let clock = Clock::start();
        let trace = Trace::new(clock.clone());
        let weather = Weather::of(dice);
        trace.note(&format!("{weather:?}"));
        let upstream = ChatKit::new(trace.clone(), weather.clone(), dice.split());
        let binds = Arc::<Binds>::default();
        let gateways = built.iter().zip(NAMES).enumerate().map(|(place, (built, name))| {
            let opening = openings[place % openings.len()].clone();
            let scene = (clock.clone(), trace.clone(), weather.clone());
            let ground = Ground::new(name, opening, scene, dice.split(), Arc::clone(&binds));
            built.store.put_on(ground);
            Gateway::new(built, upstream.clone())
        });
        let gateways = gateways.collect();
        Self {
            gateways,
            upstream,
            accounts: USERS.iter().map(|_| Mutex::default()).collect(),
            trace,
            weather,
            binds,
            store: openings[0].clone(),
            tokens: USERS.iter().map(|user| token(user)).collect(),
            built: built.iter().map(|built| built.rooms.clone()).collect(),
        }
    }

    /// Gives the bearer token of a user.
    pub(crate) fn token(&self, user: usize) -> &str {
        &self.tokens[user]
    }

    /// Gives that of the service.
    pub(crate) fn key() -> &'static str {
        KEY
    }

    /// Waits for what is finished though its client has left.
    pub(crate) async fn finished(&self) {
        for rooms in &self.built {
            rooms.finished().await;
        }
    }

    async fn look<T, F>(&self, call: impl FnOnce(Arc<dyn SessionStore>) -> F) -> T
    where
        T: Send + 'static,
        F: Future<Output = Result<T, chatkit_rest::error::Error>> + Send + 'static,
    {
        let call = call(Arc::clone(&self.store.store));
        self.store.ask(call).await.expect("a store that works")
    }

    /// Gives what the store has of a user's.
    pub(crate) async fn sessions(&self, user: usize) -> Vec<SessionSummary> {
        let page = SessionsPage::new(UserId::parse(USERS[user]).unwrap(), 100);
        self.look(|store| async move { store.list(page).await }).await
    }

    pub(crate) async fn session(&self, id: SessionId) -> SessionRecord {
        let found = self.look(|store| async move { store.get(id.into()).await }).await;
        found.and_then(Found::open).expect("a session that was listed")
    }

    /// Tells whose a thread is.
    pub(crate) async fn owner_of_thread(&self, thread: &str) -> Option<UserId> {
        let thread = thread.to_owned();
        let found =
            self.look(|store| async move { store.ownership(SessionKey::Thread(&thread)).await });
        found.await.and_then(Found::open).map(|ownership| ownership.user_id)
    }

    /// Tells whose an attachment is.
    pub(crate) async fn owner_of_attachment(&self, id: &str) -> Option<UserId> {
        let ids = vec![id.to_owned()];
        self.look(|store| async move { store.attachment_owners(ids).await }).await.pop()?
    }
}

/// Makes an empty store in memory.
pub(crate) fn memory() -> Vec<Opening> {
    vec![Opening { store: Arc::new(MemoryStore::new()), blocks: false, home: None }]
}

/// A folder for a store in a file, which goes with the test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        let name = format!("chatkit-rest-simulation-{}", SessionId::random());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn open(&self) -> Opening {
        let store = SqliteStore::open(&self.0.join("sessions.db")).unwrap();
        Opening { store: Arc::new(store), blocks: true, home: None }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn token(user: &str) -> String {
    let claims = json!({ "sub": user, "exp": 4_000_000_000_u64 });
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    jsonwebtoken::encode(&Header::default(), &claims, &key).unwrap()
}
