//! The forward room against an upstream of raw sockets that does exactly what a test tells it.

mod failures;
mod headers;
mod reuse;
mod streams;
mod support;
