//! A gateway inside the test's own runtime, an upstream and clients that speak raw TCP, and the
//! words of the protocol.

mod chatkit;
mod client;
pub(crate) mod frames;
mod gateway;
mod http2;
mod log;
mod place;
#[cfg(feature = "tls")]
pub(crate) mod tls;
mod upstream;
mod wire;

use std::future::Future;
use std::time::Duration;

pub(crate) use self::chatkit::{
    JSON_HEAD, MESSAGE_DELTA, MESSAGE_DONE, MESSAGE_START, STREAM_HEAD, chunk, created, data,
    error_event, json_answer, last_chunk, options, preamble, stream_answer, user_done,
};
pub(crate) use self::client::{Client, End, Reply};
pub(crate) use self::gateway::{Folder, Gateway, PREFIX, SECRET, TestRequest, token, token_with};
pub(crate) use self::http2::{Http2, read};
#[cfg(feature = "tls")]
pub(crate) use self::log::{Line, lines_like};
pub(crate) use self::log::{everything_logged, line_of, listen, log_of};
pub(crate) use self::place::Place;
pub(crate) use self::upstream::{Answering, Peer, Received, Upstream};
pub(crate) use self::wire::Wire;

/// Waits for what must come soon, or not at all.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    let patience = Duration::from_secs(20);
    tokio::time::timeout(patience, future).await.expect("nothing happened for 20 seconds")
}
