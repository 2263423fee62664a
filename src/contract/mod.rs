//! Contract tests: fixtures, and what runs them.
//!
//! A fixture is a JSON file. It states requests to the gateway, the ChatKit requests that it is
//! to send upstream for them, what the upstream answers (to the byte, and whether that is cut),
//! and what the client is to get.

mod check;
mod client;
mod compile;
mod error;
mod fixture;
mod format;
mod load;
mod matcher;
mod report;
mod run;
mod script;
mod settings;
mod socket;
mod target;
mod token;
mod upstream;
mod variables;

pub use client::ClientBody;
pub use error::FixtureError;
pub use fixture::Fixture;
pub use load::{GIVEN, load};
pub use report::{Difference, Outcome, Report, Verdict};
pub use run::{run, run_dir};
pub use target::{InvalidBaseUrl, Target};
pub use upstream::{ScriptedBody, ScriptedUpstream};
