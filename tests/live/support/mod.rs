//! Programs to start, the gateway and the servers behind it, and a client that sees every byte.

mod caller;
mod gateway;
mod http;
pub(crate) mod leaving;
#[path = "../../journey/support/place.rs"]
mod place;
mod upstream;

pub(crate) use caller::{Caller, Conversation, PREFIX, input, last_item};
pub(crate) use gateway::Gateway;
pub(crate) use http::{Client, End, Exchange, Reply, events};
pub(crate) use place::Place;
pub(crate) use upstream::{Server, Upstream, install, project, python};

use std::time::Duration;

/// No wait in these tests is longer; whoever gets there has failed.
const PATIENCE: Duration = Duration::from_secs(30);
