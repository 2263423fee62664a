//! What stands between a store and its database, and may be told to be in the way.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use crate::place::Place;

/// How much of what clients say is kept.
const HEARD: usize = 64 << 10;

/// What is done with bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// They are passed on.
    Open,
    /// They are kept, both ways; connections are taken.
    Stalled,
    /// What the client says is passed on, and what it is answered is kept.
    Unanswered,
}

/// A relay on the loopback interface. Dropping it ends its connections.
#[derive(Debug)]
pub(crate) struct Relay {
    place: Place,
    to: SocketAddr,
    way: watch::Sender<Way>,
    /// How often all connections were cut.
    cut: watch::Sender<u64>,
    heard: Arc<Mutex<Vec<u8>>>,
    listening: Mutex<Option<AbortHandle>>,
}

impl Relay {
    pub(crate) fn start(to: SocketAddr) -> Self {
        let relay = Self {
            place: Place::new(),
            to,
            way: watch::Sender::new(Way::Open),
            cut: watch::Sender::new(0),
            heard: Arc::default(),
            listening: Mutex::default(),
        };
        relay.accept(Duration::ZERO);
        relay
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.place.address()
    }

    pub(crate) fn set(&self, way: Way) {
        self.way.send_replace(way);
    }

    /// Ends all connections, with what they hold.
    pub(crate) fn cut(&self) {
        self.cut.send_modify(|times| *times += 1);
    }

    /// Ends all connections, and refuses others.
    pub(crate) async fn refuse(&self) {
        let listening = self.listening.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(listening) = listening {
            listening.abort();
            while !listening.is_finished() {
                tokio::task::yield_now().await;
            }
        }
        self.cut();
    }

    /// Takes connections again after [`refuse`](Self::refuse), of which each wakes the database first,
    /// for so long.
    pub(crate) fn accept(&self, waking: Duration) {
        let (listener, to) = (self.place.listen(), self.to);
        let (way, cut) = (self.way.subscribe(), self.cut.subscribe());
        let heard = Arc::clone(&self.heard);
        let task = tokio::spawn(listen(listener, to, waking, way, cut, heard));
        let mut listening = self.listening.lock().unwrap_or_else(PoisonError::into_inner);
        *listening = Some(task.abort_handle());
    }

    /// Tells whether a client has said that.
    pub(crate) fn heard(&self, what: &[u8]) -> bool {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.windows(what.len()).any(|part| part == what)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let listening = self.listening.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(listening) = listening {
            listening.abort();
        }
    }
}

async fn listen(
    listener: TcpListener,
    to: SocketAddr,
    waking: Duration,
    way: watch::Receiver<Way>,
    cut: watch::Receiver<u64>,
    heard: Arc<Mutex<Vec<u8>>>,
) {
    // They end with it.
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let (way, heard) = (way.clone(), Arc::clone(&heard));
        let mut cut = cut.clone();
        cut.mark_unchanged();
        connections.spawn(async move {
            tokio::select! {
                () = connection(client, to, waking, way, heard) => {}
                _ = cut.changed() => {}
            }
        });
    }
}

async fn connection(
    client: TcpStream,
    to: SocketAddr,
    waking: Duration,
    way: watch::Receiver<Way>,
    heard: Arc<Mutex<Vec<u8>>>,
) {
    tokio::time::sleep(waking).await;
    let Ok(server) = TcpStream::connect(to).await else { return };
    for stream in [&client, &server] {
        let _slower = stream.set_nodelay(true);
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let asks = |way: Way| way != Way::Stalled;
    let answers = |way: Way| way == Way::Open;
    // As soon as one side ends, the other does.
    tokio::select! {
        () = pass(from_client, to_server, way.clone(), asks, Some(&heard)) => {}
        () = pass(from_server, to_client, way, answers, None) => {}
    }
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut way: watch::Receiver<Way>,
    passes: impl Fn(Way) -> bool,
    heard: Option<&Mutex<Vec<u8>>>,
) {
    let mut bytes = vec![0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut bytes).await {
        if let Some(heard) = heard {
            let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
            let room = HEARD - heard.len();
            heard.extend_from_slice(&bytes[..length.min(room)]);
        }
        if way.wait_for(|way| passes(*way)).await.is_err()
            || to.write_all(&bytes[..length]).await.is_err()
        {
            return;
        }
    }
}
