//! The gateway's binary, one process of several on one database.

use std::net::SocketAddr;
use std::process::Command;

use crate::guarded::{Guarded, Signal};
use crate::http::SECRET;
use crate::upstream::Upstream;

/// A running gateway. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Gateway {
    address: SocketAddr,
    server: Guarded,
}

impl Gateway {
    /// Starts one with these settings, such as `("STORE__POOLER", "true")`, and without a limit of
    /// requests. Comes back when it listens.
    pub(crate) fn start(upstream: &Upstream, settings: &[(&str, &str)]) -> Self {
        let url = upstream.url();
        let all = [
            ("LISTEN", "127.0.0.1:0"),
            ("UPSTREAM__URL", &url),
            ("AUTH__SECRET", SECRET),
            ("LIMITS__REQUESTS_PER_MINUTE", "0"),
            ("LOG__LEVEL", "info,chatkit_rest::request=warn"),
        ];
        let mut command = Command::new(env!("CARGO_BIN_EXE_chatkit-rest"));
        command.arg("serve");
        for (name, value) in all.iter().chain(settings) {
            command.env(format!("CHATKIT_REST__{name}"), value);
        }
        let server = Guarded::spawn(&command, Signal::Kill, None);
        let line = server.wait_for("listening on http://");
        let (_, rest) = line.split_once("listening on http://").unwrap();
        let end = rest.find(|c: char| !(c.is_ascii_digit() || ".:".contains(c)));
        let address = rest[..end.unwrap_or(rest.len())].parse().unwrap();
        Self { address, server }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Gives the last lines of its log.
    pub(crate) fn said(&self) -> String {
        self.server.said()
    }

    /// Ends it without any warning.
    pub(crate) fn kill(self) {
        self.server.end(Signal::Kill);
    }
}
