//! REST: sessions, threads, runs, items, attachments and transcriptions.

pub(super) mod create_run;
pub(super) mod create_session;
pub(super) mod create_thread;
pub(super) mod delete_session;
pub(super) mod get_session;
pub(super) mod list_sessions;
pub(super) mod list_threads;
pub(super) mod update_session;
