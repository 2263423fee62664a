//! What the fuzz targets do with their input. Each is a function of bytes, so that whatever was
//! found can be looked at in a debugger or a test; `src/bin` hands them to libFuzzer.
//!
//! A target panics where a promise is broken. What each promises stands above it.

mod agreement;
mod configuration;
mod gateway;
mod script;
mod streams;
mod tokens;

pub use agreement::validate;
pub use configuration::config;
pub use gateway::{cursor, gateway, ownership};
pub use streams::stream;
pub use tokens::token;
