//! REST: sessions, threads, runs, items, attachments and transcriptions.

pub(super) mod create_attachment;
pub(super) mod create_feedback;
pub(super) mod create_run;
pub(super) mod create_session;
pub(super) mod create_thread;
pub(super) mod create_transcription;
pub(super) mod delete_attachment;
pub(super) mod delete_session;
pub(super) mod get_session;
pub(super) mod get_thread;
pub(super) mod list_items;
pub(super) mod list_sessions;
pub(super) mod list_threads;
pub(super) mod retry_item;
pub(super) mod run_action;
pub(super) mod submit_structured_input;
pub(super) mod submit_tool_output;
pub(super) mod update_session;
