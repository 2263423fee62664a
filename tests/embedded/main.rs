//! The in-process ChatKit server, from outside: every request, as a gateway sends it.

mod cancel;
mod client;
mod failures;
mod files;
mod pages;
mod recorded;
mod requests;
mod text;
mod timing;
