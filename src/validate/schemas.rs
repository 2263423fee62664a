//! The JSON Schemas of `schemas/`, embedded and compiled once.

use jsonschema::{Draft, Validator};
use serde_json::Value;

use super::report::{Report, report};
use crate::error::Error;
use crate::protocol::RequestType;
use crate::route::Operation;

/// Every schema file by its path below `schemas/`, without `.json`.
pub const SOURCES: [(&str, &str); 44] = {
    macro_rules! sources {
        ($($name:literal),* $(,)?) => {
            [$(($name, include_str!(concat!("../../schemas/", $name, ".json")))),*]
        };
    }
    sources![
        "create_session.request",
        "create_session.reply",
        "list_sessions.reply",
        "get_session.reply",
        "update_session.request",
        "update_session.reply",
        "delete_session.reply",
        "create_thread.request",
        "create_thread.reply",
        "list_threads.reply",
        "create_run.request",
        "create_run.reply",
        "chat.request",
        "chat.reply",
        "chat_for_user.request",
        "chat_for_user.reply",
        "openai_create_session.request",
        "openai_create_session.reply",
        "openai_cancel_session.reply",
        "openai_list_threads.query",
        "openai_list_threads.reply",
        "openai_get_thread.reply",
        "openai_delete_thread.reply",
        "openai_list_items.query",
        "openai_list_items.reply",
        "openai_error",
        "error",
        "problem",
        "chatkit/attachments.create",
        "chatkit/attachments.delete",
        "chatkit/input.transcribe",
        "chatkit/items.feedback",
        "chatkit/items.list",
        "chatkit/threads.add_client_tool_output",
        "chatkit/threads.add_structured_input",
        "chatkit/threads.add_user_message",
        "chatkit/threads.create",
        "chatkit/threads.custom_action",
        "chatkit/threads.delete",
        "chatkit/threads.get_by_id",
        "chatkit/threads.list",
        "chatkit/threads.retry_after_item",
        "chatkit/threads.sync_custom_action",
        "chatkit/threads.update",
    ]
};

/// The compiled schemas of everything that a client sends.
#[derive(Debug)]
pub struct Schemas {
    create_session: Validator,
    update_session: Validator,
    create_thread: Validator,
    create_run: Validator,
    chat: Validator,
    chat_for_user: Validator,
    openai_create_session: Validator,
    openai_list_threads: Validator,
    openai_list_items: Validator,
    chatkit: [Validator; RequestType::ALL.len()],
}

impl Schemas {
    /// Compiles them.
    ///
    /// # Errors
    /// If one of the embedded schemas is not a valid schema; a test rules that out.
    pub fn compile() -> Result<Self, Error> {
        let mut chatkit = Vec::with_capacity(RequestType::ALL.len());
        for kind in RequestType::ALL {
            chatkit.push(compile(&format!("chatkit/{kind}"))?);
        }
        Ok(Self {
            create_session: compile("create_session.request")?,
            update_session: compile("update_session.request")?,
            create_thread: compile("create_thread.request")?,
            create_run: compile("create_run.request")?,
            chat: compile("chat.request")?,
            chat_for_user: compile("chat_for_user.request")?,
            openai_create_session: compile("openai_create_session.request")?,
            openai_list_threads: compile("openai_list_threads.query")?,
            openai_list_items: compile("openai_list_items.query")?,
            chatkit: chatkit
                .try_into()
                .map_err(|_| Error::config("a ChatKit request type has no schema"))?,
        })
    }

    /// Checks the body of an operation, or the query of one that has no body. Operations with
    /// neither accept anything.
    ///
    /// # Errors
    /// The [`Report`] of what is wrong.
    pub fn check(&self, operation: Operation, body: &Value) -> Result<(), Report> {
        match operation {
            Operation::CreateSession => report(&self.create_session, body),
            Operation::UpdateSession => report(&self.update_session, body),
            Operation::CreateThread => report(&self.create_thread, body),
            Operation::CreateRun => report(&self.create_run, body),
            Operation::Chat => report(&self.chat, body),
            Operation::ChatForUser => report(&self.chat_for_user, body),
            Operation::OpenAiCreateSession => report(&self.openai_create_session, body),
            Operation::OpenAiListThreads => report(&self.openai_list_threads, body),
            Operation::OpenAiListItems => report(&self.openai_list_items, body),
            _ => Ok(()),
        }
    }

    /// Checks a ChatKit request of that type.
    ///
    /// # Errors
    /// The [`Report`] of what is wrong.
    pub fn check_chatkit(&self, kind: RequestType, body: &Value) -> Result<(), Report> {
        let validator =
            RequestType::ALL.iter().zip(&self.chatkit).find_map(|(k, v)| (*k == kind).then_some(v));
        validator.map_or(Ok(()), |validator| report(validator, body))
    }
}

/// Compiles one of [`SOURCES`].
///
/// # Errors
/// If there is no schema of that name, or it is not valid.
pub fn compile(name: &str) -> Result<Validator, Error> {
    let source = SOURCES
        .iter()
        .find_map(|(known, source)| (*known == name).then_some(*source))
        .ok_or_else(|| Error::config(format!("there is no schema {name}")))?;
    let schema: Value = serde_json::from_str(source)
        .map_err(|error| Error::config(format!("schema {name} is not JSON")).with(error))?;
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .should_validate_formats(true)
        .with_base_uri(format!("json-schema:///{name}.json"))
        .build(&schema)
        .map_err(|error| Error::config(format!("schema {name}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schema_compiles_and_is_named_after_its_file() {
        for (name, source) in SOURCES {
            compile(name).unwrap();
            let schema: Value = serde_json::from_str(source).unwrap();
            assert_eq!(schema["$id"], format!("{name}.json"));
        }
        Schemas::compile().unwrap();
    }
}
