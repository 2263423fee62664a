//! The examples do what they say: their own code, without their terminals and ports.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends by panicking, and its support is not inside of #[test] functions"
)]

macro_rules! example {
    ($name:ident, $path:literal) => {
        #[path = $path]
        #[allow(dead_code, reason = "`main` is for the terminal")]
        mod $name;
    };
}

example!(authenticate_only, "../../examples/authenticate_only.rs");
example!(axum_app, "../../examples/axum_app.rs");
example!(axum_layers, "../../examples/axum_layers.rs");
example!(own_store, "../../examples/own_store.rs");
example!(reverse_proxy, "../../examples/reverse_proxy.rs");
example!(validate_only, "../../examples/validate_only.rs");

mod app;
mod layers;
mod orders;
mod proxy;
mod store;
mod tokens;
