//! A REST gateway for self-hosted ChatKit servers. (being written)

pub mod error;
pub mod rejection;

mod accept;
pub mod principal;

#[cfg(feature = "authenticate")]
pub mod authenticate;

#[cfg(feature = "limit")]
pub mod limit;

#[cfg(feature = "route")]
pub mod route;

#[cfg(feature = "validate")]
pub mod validate;

#[cfg(feature = "session")]
pub mod session;

#[cfg(feature = "translate")]
pub mod translate;

#[cfg(any(feature = "forward", feature = "embedded"))]
pub mod forward;

#[cfg(feature = "stream")]
pub mod stream;

#[cfg(feature = "config")]
pub mod config;
