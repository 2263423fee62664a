//! A request's body and query: read within bounds, and checked against a schema.
//!
//! A ChatKit server answers a bare 500 to almost any mistake. Here each one is told apart:
//! media type (415), size (413), UTF-8, JSON, duplicate keys and depth (400 `INVALID_JSON`),
//! and every violation of the operation's JSON Schema with the JSON Pointer of its place (400
//! `INVALID_INPUT`). Nobody looks at a body again after that.
//!
//! The text of a message is passed on exactly as it was received; only its raw JSON is kept.
//!
//! What this room does not do: it knows no sessions and asks no store.

pub(crate) mod json;
pub(crate) mod negotiate;
pub(crate) mod query;
pub(crate) mod read;
pub(crate) mod reader;
pub(crate) mod report;
mod schema;
pub(crate) mod schemas;

pub use json::{JsonError, MAX_DEPTH, MAX_VALUES, parse as parse_json};
pub use reader::{BodyLimits, Reader, UnknownRequests};
pub use report::{Report, Violation};
pub use schema::JsonSchema;
pub use schemas::{SOURCES, Schemas, compile};
