//! A REST gateway for self-hosted ChatKit servers. (being written)

pub mod error;
pub mod rejection;

mod accept;
pub mod principal;

#[cfg(feature = "session")]
pub mod telemetry;

#[cfg(feature = "authenticate")]
pub mod authenticate;

#[cfg(any(feature = "limit", feature = "session"))]
pub mod limit;

#[cfg(feature = "route")]
pub mod route;

#[cfg(feature = "validate")]
pub mod protocol;

#[cfg(feature = "validate")]
pub mod validate;

#[cfg(feature = "session")]
pub mod session;

#[cfg(feature = "translate")]
pub mod translate;

pub mod forward;

#[cfg(feature = "stream")]
pub mod stream;

#[cfg(feature = "config")]
pub mod config;

#[cfg(feature = "server")]
pub mod proxy;

#[cfg(feature = "server")]
pub mod server;

#[cfg(feature = "contract")]
pub mod contract;
