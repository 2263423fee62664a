//! The listener: HTTP/1.1 and HTTP/2, in TLS or without, time-outs, and a drain that lets streams end.
//!
//! Needs the feature `server`, and `tls` for TLS.
//!
//! With `server.tls.certificate`, the listener speaks TLS and nothing else, and takes up new files of the
//! certificate while it runs. Without, whatever terminates TLS goes in front, and talks HTTP/1.1 or
//! HTTP/2 with prior knowledge to the gateway. The listener for health and the document
//! (`admin.listen`) has no TLS in either case.
//!
//! ```
//! use chatkit_rest::config::Sources;
//! use chatkit_rest::server::Server;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let settings = r#"
//!     listen = "127.0.0.1:0"
//!     upstream.url = "embedded"
//!     store.url = "memory:"
//!     auth.secret = "0123456789abcdef0123456789abcdef"
//! "#;
//! let loaded = Sources::new().toml("settings", settings).load()?;
//! let server = Server::bind(loaded.config).await?;
//! println!("listening on http://{}", server.local_addr());
//! // Until there is a reason to stop; `examples/reverse_proxy.rs` waits for control-C.
//! let shutdown = async {};
//! server.serve(shutdown).await?;
//! # Ok(())
//! # }
//! ```

mod connection;
mod counted;
mod finding;
mod frames;
mod io;
mod streams;
#[cfg(feature = "tls")]
mod tls;
mod upstream;

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tower::{Layer as _, Service, service_fn};

use self::connection::{ConnectionTimeouts, Secrecy};
use self::upstream::AnyUpstream;
use crate::config::{Config, StoreConfig, StoreUrl};
use crate::error::{BoxError, Error};
use crate::health::HealthLayer;
use crate::limit::InFlightLayer;
use crate::openapi::{DocsLayer, Listener};
use crate::proxy::Rooms;
use crate::rejection::{Code, RefusalStyle, Rejection};
#[cfg(feature = "postgres")]
use crate::session::PostgresStore;
use crate::session::{MemoryStore, SessionStore, SqliteStore};
use crate::telemetry::{Ending, TraceLayer};

/// A gateway that listens.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    #[cfg(feature = "tls")]
    tls: Option<tls::Tls>,
    admin: Option<TcpListener>,
    health: HealthLayer,
    docs: DocsLayer,
    rooms: Rooms,
    upstream: AnyUpstream,
    identity: finding::Identity,
    advice: watch::Sender<Option<&'static str>>,
    limits: Limits,
    draining: watch::Sender<bool>,
    /// What is told when it ends: what was left is written then, and its places are given back.
    #[cfg(feature = "postgres")]
    database: Option<Arc<PostgresStore>>,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    timeouts: ConnectionTimeouts,
    max_connections: usize,
    drain_timeout: Duration,
}

impl Server {
    /// Makes all that [`bind`](Self::bind) makes of a configuration, but opens no store and listens
    /// nowhere.
    ///
    /// # Errors
    /// If a setting can't be used.
    pub fn check(config: &Config) -> Result<(), Error> {
        AnyUpstream::check(config)?;
        // On whichever listener it is.
        DocsLayer::new(&config.facts())?;
        let store = Arc::new(MemoryStore::new());
        Rooms::from_config(config, store, HealthLayer::elsewhere()).map(drop)
    }

    /// Takes the addresses, opens the store, makes the rooms and listens. The upstream need not be there yet; a database has
    /// to be, within `store.connect_timeout`.
    ///
    /// # Errors
    /// If the store can't be opened, a setting can't be used, or an address is taken.
    pub async fn bind(config: Config) -> Result<Self, Error> {
        // A store is neither made nor brought to this version for a gateway that nobody can reach.
        let socket = reserve(config.listen)?;
        let admin = config.admin.listen.map(reserve).transpose()?;
        let opened = OpenStore::open(&config.store).await?;
        let store = opened.store;
        let upstream = AnyUpstream::new(&config)?;
        let (draining, drained) = watch::channel(false);
        let in_flight = InFlightLayer::new(config.limits.max_in_flight);
        let (advice, advised) = watch::channel(None);
        let health =
            HealthLayer::new(Arc::clone(&store), upstream.probe(), drained, in_flight.clone())
                .with_advice(advised)
                .with_breaker(upstream.left_in_peace());
        let on_main = match config.admin.listen {
            None => health.clone(),
            Some(_) => HealthLayer::elsewhere(),
        };
        let docs = match config.admin.listen {
            None => DocsLayer::elsewhere(),
            Some(_) => DocsLayer::of_listener(Listener::Admin(&config.facts()))?,
        };
        let on_main = (on_main, config.docs_layer_of_server()?);
        let rooms = Rooms::from_config_with(&config, store, on_main, in_flight)?;
        health.look_at_callers(rooms.callers());
        #[cfg(feature = "tls")]
        let tls = config.server.tls.map(tls::Tls::load).transpose()?;
        let listener = listen(socket, config.listen)?;
        let admin = match (admin, config.admin.listen) {
            (Some(socket), Some(address)) => Some(listen(socket, address)?),
            (None, _) | (_, None) => None,
        };
        let address = listener
            .local_addr()
            .map_err(|error| Error::io("could not read the listener's address", error))?;
        let limits = Limits {
            timeouts: ConnectionTimeouts {
                header_timeout: config.server.header_timeout,
                idle_timeout: config.server.idle_timeout,
                write_timeout: config.server.write_timeout,
                max_header_bytes: config.server.max_header_bytes,
            },
            max_connections: config.server.max_connections,
            drain_timeout: config.server.drain_timeout,
        };
        let identity = finding::Identity {
            proof: config.upstream.proof,
            user_header: config.upstream.user_header,
            forwards_authorization: config.upstream.forward_authorization,
        };
        Ok(Self {
            listener,
            address,
            #[cfg(feature = "tls")]
            tls,
            admin,
            health,
            docs,
            rooms,
            upstream,
            identity,
            advice,
            limits,
            draining,
            #[cfg(feature = "postgres")]
            database: opened.database,
        })
    }

    /// Gives the address it listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Tells whether that address is one of `https://` rather than `http://`.
    pub fn has_tls(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        return false;
    }

    /// Gives the address of the listener for health and the document, if it has its own.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Asks the upstream one question that does nothing, and logs whether it answers like a ChatKit
    /// server, and if not, what to do; `/readyz` tells of it, too. It is asked again until there is
    /// nothing to do, at most once a minute after the first few times, and less often if it refuses
    /// or fails. The built-in server isn't asked.
    ///
    /// Nothing waits for it: it is for a task beside [`serve`](Self::serve), to be dropped with that.
    pub fn look_at_upstream(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let stranger = self.upstream.stranger().cloned();
        let (identity, advice) = (self.identity.clone(), self.advice.clone());
        async move {
            if let Some(upstream) = stranger {
                finding::look(upstream, identity, advice).await;
            }
        }
    }

    /// Serves until `shutdown` resolves, and then until all requests have ended, and
    /// what is finished for clients that have left, or for `server.drain_timeout`: streams that are still open then are cut.
    ///
    /// # Errors
    /// None at present; the signature leaves room.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        let service = self.rooms.around(self.upstream);
        let mut connections = JoinSet::new();
        // Dropped before the connections are, however this ends: what is cut with them is cut by us.
        let _ending = EndsWithThis(self.rooms.ending());
        let places = Arc::new(Semaphore::new(self.limits.max_connections));
        let timeouts = self.limits.timeouts;
        {
            #[cfg(feature = "tls")]
            let secrecy = || self.tls.as_ref().map(tls::Tls::current);
            #[cfg(not(feature = "tls"))]
            let secrecy = || None;
            let accepting = accept_all(
                &self.listener,
                secrecy,
                service,
                timeouts,
                &places,
                &mut connections,
                &self.draining,
            );
            let health = self.health.layer(self.docs.layer(service_fn(nothing_else)));
            let health = TraceLayer::new().layer(health);
            let mut admin_connections = JoinSet::new();
            let admin_places = Arc::new(Semaphore::new(64));
            let mut admin = pin!(async {
                match &self.admin {
                    Some(listener) => {
                        accept_all(
                            listener,
                            || None,
                            health,
                            timeouts,
                            &admin_places,
                            &mut admin_connections,
                            &self.draining,
                        )
                        .await;
                    }
                    None => std::future::pending().await,
                }
            });
            #[cfg(feature = "tls")]
            let mut renewing = pin!(async {
                match &self.tls {
                    Some(tls) => tls.keep_up().await,
                    None => std::future::pending().await,
                }
            });
            let mut accepting = pin!(accepting);
            let mut shutdown = pin!(shutdown);
            std::future::poll_fn(|cx| {
                use std::task::Poll;
                if shutdown.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(());
                }
                let _: Poll<()> = accepting.as_mut().poll(cx);
                let _: Poll<()> = admin.as_mut().poll(cx);
                #[cfg(feature = "tls")]
                let _: Poll<()> = renewing.as_mut().poll(cx);
                Poll::Pending
            })
            .await;
        }
        drop(self.listener);
        self.draining.send_replace(true);
        let detached = self.rooms.finished();
        let cut = || self.rooms.ending().begins();
        drain(&mut connections, detached, self.limits.drain_timeout, cut).await;
        self.rooms.give_back_limits().await;
        #[cfg(feature = "postgres")]
        if let Some(database) = self.database {
            database.close().await;
        }
        Ok(())
    }
}

/// Answers who looks for the API on the listener of its own for health and the document.
async fn nothing_else(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let refusal = Rejection::new(Code::NotFound).message(
        "There is nothing at this path. On this listener (admin.listen) are /healthz, /readyz, /docs and \
         /openapi.json; the API is on the other.",
    );
    Ok(refusal.into_response(&RefusalStyle::of(&request)))
}

fn reserve(address: SocketAddr) -> Result<TcpSocket, Error> {
    io::reserve(address).map_err(|error| not_listening(address, error))
}

fn listen(socket: TcpSocket, address: SocketAddr) -> Result<TcpListener, Error> {
    io::listen(socket).map_err(|error| not_listening(address, error))
}

fn not_listening(address: SocketAddr, error: std::io::Error) -> Error {
    Error::io(format!("could not listen on {address}"), error)
}

/// A store that is open.
struct OpenStore {
    store: Arc<dyn SessionStore>,
    #[cfg(feature = "postgres")]
    database: Option<Arc<PostgresStore>>,
}

impl OpenStore {
    async fn open(config: &StoreConfig) -> Result<Self, Error> {
        let store: Arc<dyn SessionStore> = match &config.url {
            StoreUrl::Memory => Arc::new(MemoryStore::new()),
            StoreUrl::Sqlite(path) => Arc::new(SqliteStore::open(path)?),
            #[cfg(feature = "postgres")]
            StoreUrl::Postgres(_) => {
                let database = Arc::new(PostgresStore::open(config.postgres()?).await?);
                return Ok(Self { store: Arc::clone(&database) as _, database: Some(database) });
            }
            // Refused where settings are read.
            #[cfg(not(feature = "postgres"))]
            StoreUrl::Postgres(_) => {
                return Err(Error::config("this build has no PostgreSQL (feature `postgres`)"));
            }
        };
        Ok(Self {
            store,
            #[cfg(feature = "postgres")]
            database: None,
        })
    }
}

/// Accepts connections for ever, as many at once as there are `places`; `secrecy` tells of each how TLS
/// is spoken on it.
async fn accept_all<S, R>(
    listener: &TcpListener,
    secrecy: impl Fn() -> Option<Secrecy>,
    service: S,
    timeouts: ConnectionTimeouts,
    places: &Arc<Semaphore>,
    connections: &mut JoinSet<()>,
    draining: &watch::Sender<bool>,
) where
    S: Service<Request<Incoming>, Response = Response<R>, Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + 'static,
    R: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    loop {
        // Only closing fails it, and nobody does.
        let Ok(place) = Arc::clone(places).acquire_owned().await else { return };
        let (stream, _) = io::accept(listener).await;
        while connections.try_join_next().is_some() {}
        let service = service.clone();
        let secrecy = secrecy();
        let draining = draining.subscribe();
        connections.spawn(async move {
            connection::serve(stream, secrecy, service, timeouts, draining).await;
            drop(place);
        });
    }
}

/// Begins the end when it is dropped.
struct EndsWithThis<'e>(&'e Ending);

impl Drop for EndsWithThis<'_> {
    fn drop(&mut self) {
        self.0.begins();
    }
}

/// Waits for connections to end, and then for `detached`, which outlive them; cuts the connections
/// when it has been long enough, after telling `cut`.
async fn drain(
    connections: &mut JoinSet<()>,
    detached: impl Future<Output = ()>,
    drain_timeout: Duration,
    cut: impl FnOnce(),
) {
    while connections.try_join_next().is_some() {}
    if !connections.is_empty() {
        tracing::info!(connections = connections.len(), "draining");
    }
    let all = async {
        while connections.join_next().await.is_some() {}
        detached.await;
    };
    if timeout(drain_timeout, all).await.is_err() {
        tracing::warn!(connections = connections.len(), "drain time is over, cutting what is left");
        cut();
        connections.shutdown().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    #[tokio::test(start_paused = true)]
    async fn detached_tasks_are_waited_for_and_not_for_ever() {
        let (done, detached) = tokio::sync::oneshot::channel::<()>();
        let hour = Duration::from_secs(3600);
        let mut none = JoinSet::new();
        let mut draining = pin!(drain(&mut none, async { detached.await.unwrap() }, hour, || {}));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(draining.as_mut().poll(&mut cx).is_pending());
        done.send(()).unwrap();
        draining.await;

        let begun = tokio::time::Instant::now();
        drain(&mut JoinSet::new(), std::future::pending(), hour, || {}).await;
        assert_eq!(begun.elapsed(), hour);
    }

    #[tokio::test]
    async fn a_defect_takes_only_its_own_connection_with_it() {
        let service = service_fn(|request: Request<Incoming>| async move {
            assert_ne!(request.uri().path(), "/defect");
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("fine")))
        });
        let second = Duration::from_secs(1);
        let timeouts = ConnectionTimeouts {
            header_timeout: second,
            idle_timeout: second,
            write_timeout: second,
            max_header_bytes: 4096,
        };
        let here = "127.0.0.1:0".parse().unwrap();
        let listener = listen(reserve(here).unwrap(), here).unwrap();
        let address = listener.local_addr().unwrap();
        let (draining, _) = watch::channel(false);
        // One place, which each of them must give back.
        let places = Arc::new(Semaphore::new(1));
        let mut connections = JoinSet::new();
        let accepting =
            accept_all(&listener, || None, service, timeouts, &places, &mut connections, &draining);
        let calls = async {
            for (path, fine) in [("/", true), ("/defect", false), ("/", true)] {
                let mut client = TcpStream::connect(address).await.unwrap();
                let request =
                    format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
                client.write_all(request.as_bytes()).await.unwrap();
                let mut answer = String::new();
                let _reset = client.read_to_string(&mut answer).await;
                assert_eq!(answer.ends_with("fine"), fine, "{answer}");
            }
        };
        tokio::select! { () = accepting => {}, () = calls => {} }
    }
}
