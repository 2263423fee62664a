//! The OpenAPI 3.1 document at `/openapi.json`, and a page to read it at `/docs`.
//!
//! Needs the feature `server`.
//!
//! The document is made of the [list of operations](crate::operation::Name::ALL), the schemas
//! of `schemas/` and the configuration: paths, limits and the ways to prove who one is are those
//! of the gateway that serves it. What requests are checked against and what is documented are
//! the same files, and `tests/openapi` sends a gateway what the document allows and what it
//! doesn't.
//!
//! The page is one file that fetches the document and nothing else; a policy that the browser
//! enforces says so. On a [`Server`](crate::server::Server)'s own listeners `/` says where both are.
//!
//! ```
//! use chatkit_rest::config::Sources;
//! use chatkit_rest::openapi::document;
//!
//! let settings = "auth.secret = \"0123456789abcdef0123456789abcdef\"\nrest.prefix = \"/chat\"";
//! let config = Sources::new().toml("settings", settings).load()?.config;
//! let document = document(&config.facts())?;
//! let operation = &document["paths"]["/chat/sessions/{session_id}"]["get"];
//! assert_eq!(operation["operationId"], "get_session");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod document;
mod facts;
mod front;
mod layer;
mod operations;
mod page;
mod responses;
mod schemas;
mod service;

pub use document::document;
pub use facts::{Callers, Facts};
pub(crate) use front::Listener;
pub use layer::{Docs, DocsFuture, DocsLayer};
