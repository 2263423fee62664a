//! The JSON Schemas of `schemas/`, embedded and compiled once.

use serde_json::Value;

use super::report::Report;
use super::schema::JsonSchema;
use crate::error::Error;
use crate::protocol::RequestType;

/// Every schema file by its path below `schemas/`, without `.json`.
pub const SOURCES: [(&str, &str); 72] = {
    macro_rules! sources {
        ($($name:literal),* $(,)?) => {
            [$(($name, include_str!(concat!("../../schemas/", $name, ".json")))),*]
        };
    }
    sources![
        "create_session.request",
        "create_session.reply",
        "list_sessions.query",
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
        "get_thread.reply",
        "list_items.query",
        "list_items.reply",
        "create_feedback.request",
        "create_feedback.reply",
        "retry_item.request",
        "retry_item.reply",
        "submit_tool_output.request",
        "submit_tool_output.reply",
        "submit_structured_input.request",
        "submit_structured_input.reply",
        "run_action.query",
        "run_action.request",
        "run_action.reply",
        "create_attachment.request",
        "create_attachment.reply",
        "delete_attachment.reply",
        "create_transcription.request",
        "create_transcription.reply",
        "chat.request",
        "chat.reply",
        "chat_for_user.request",
        "chat_for_user.reply",
        "list_conversations.query",
        "list_conversations.reply",
        "list_conversations_for_user.query",
        "list_conversations_for_user.reply",
        "get_conversation.query",
        "get_conversation.reply",
        "get_conversation_for_user.query",
        "get_conversation_for_user.reply",
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
    /// Those of bodies and those of queries, by what they are called before the dot.
    requests: Vec<(&'static str, JsonSchema)>,
    queries: Vec<(&'static str, JsonSchema)>,
    chatkit: [JsonSchema; RequestType::ALL.len()],
}

impl Schemas {
    /// Compiles them.
    ///
    /// # Errors
    /// If one of the embedded schemas is not a valid schema; a test rules that out.
    pub fn compile() -> Result<Self, Error> {
        let mut chatkit = Vec::with_capacity(RequestType::ALL.len());
        for kind in RequestType::ALL {
            chatkit.push(compile_bounded(&format!("chatkit/{kind}"))?);
        }
        let of = |suffix: &str| -> Result<Vec<_>, Error> {
            let named = SOURCES.iter().filter_map(|(name, _)| Some((*name, name.split_once('.')?)));
            let of_kind = named.filter(|(_, (name, kind))| *kind == suffix && !name.contains('/'));
            of_kind.map(|(file, (name, _))| Ok((name, compile_bounded(file)?))).collect()
        };
        Ok(Self {
            requests: of("request")?,
            queries: of("query")?,
            chatkit: chatkit
                .try_into()
                .map_err(|_| Error::config("a ChatKit request type has no schema"))?,
        })
    }

    /// Checks a body by the schema `NAME.request`. Where there is none, anything will do.
    ///
    /// # Errors
    /// The [`Report`] of what is wrong.
    pub fn check(&self, name: &str, body: &Value) -> Result<(), Report> {
        of(&self.requests, name).map_or(Ok(()), |schema| schema.check(body))
    }

    /// Checks a query, as an object of its parameters, by the schema `NAME.query`. Where there is
    /// none, anything will do.
    ///
    /// # Errors
    /// The [`Report`] of what is wrong.
    pub fn check_query(&self, name: &str, parameters: &Value) -> Result<(), Report> {
        of(&self.queries, name)
            .map_or(Ok(()), |schema| schema.check(parameters))
            .map_err(Report::of_query)
    }

    /// Checks a ChatKit request of that type.
    ///
    /// # Errors
    /// The [`Report`] of what is wrong.
    pub fn check_chatkit(&self, kind: RequestType, body: &Value) -> Result<(), Report> {
        let schema =
            RequestType::ALL.iter().zip(&self.chatkit).find_map(|(k, v)| (*k == kind).then_some(v));
        schema.map_or(Ok(()), |schema| schema.check(body))
    }
}

fn of<'a>(all: &'a [(&'static str, JsonSchema)], name: &str) -> Option<&'a JsonSchema> {
    all.iter().find_map(|(known, schema)| (*known == name).then_some(schema))
}

/// Compiles one of [`SOURCES`].
///
/// # Errors
/// If there is no schema of that name, or it is not valid.
pub fn compile(name: &str) -> Result<JsonSchema, Error> {
    JsonSchema::compile(name, source(name)?)
}

/// Compiles the same, of something that a client sends; a test holds those to have bounds.
fn compile_bounded(name: &str) -> Result<JsonSchema, Error> {
    JsonSchema::compile_with_bounded_lists(name, source(name)?)
}

fn source(name: &str) -> Result<&'static str, Error> {
    SOURCES
        .iter()
        .find_map(|(known, source)| (*known == name).then_some(*source))
        .ok_or_else(|| Error::config(format!("there is no schema {name}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounds::{
        MAX_ANSWER_CHARS, MAX_CURSOR_CHARS, MAX_ENTRIES, MAX_ID_CHARS, MAX_IDS, MAX_NAME_CHARS,
    };
    use crate::principal::MAX_USER_ID_CHARS;

    /// Finds what every schema below `node` says of how long things may be, and what it should.
    fn bounds(node: &Value, name: &str, found: &mut Vec<String>) {
        let types = |kind: &str| match &node["type"] {
            Value::String(only) => only == kind,
            Value::Array(types) => types.iter().any(|one| one == kind),
            _ => false,
        };
        let mut expect = |keyword: &str, bound: usize| {
            if node[keyword] != bound {
                found.push(format!("{name}: {keyword} is {}, not {bound}", node[keyword]));
            }
        };
        let is_fixed = node.get("const").is_some() || node.get("enum").is_some();
        // Of these the configuration says how long they may be.
        let is_said = ["text", "quoted_text", "message", "audio_base64"].contains(&name);
        if types("string") && !is_fixed && !is_said {
            expect(
                "maxLength",
                match name {
                    "title" | "name" | "mime_type" => MAX_NAME_CHARS,
                    "user" => MAX_USER_ID_CHARS,
                    "after" | "before" => MAX_CURSOR_CHARS,
                    "values" => MAX_ANSWER_CHARS,
                    "limit" | "size" => 32,
                    "state_variables" => 8192,
                    _ => MAX_ID_CHARS,
                },
            );
        }
        if types("array") {
            // Where they are ids, how many different ones is counted elsewhere.
            let of_ids = ["attachments", "item_ids"].contains(&name);
            expect("maxItems", if of_ids { MAX_IDS } else { MAX_ENTRIES });
        }
        let of_any = node.get("additionalProperties").filter(|schema| schema.is_object());
        if types("object") && of_any.is_some() {
            let most =
                if name == "state_variables" { (64, 64) } else { (MAX_ENTRIES, MAX_ID_CHARS) };
            expect("maxProperties", most.0);
            if node["propertyNames"]["maxLength"] != most.1 {
                found.push(format!("{name}: a member's name has no bound"));
            }
        }
        for (member, schema) in node["properties"].as_object().into_iter().flatten() {
            bounds(schema, member, found);
        }
        for schema in [node.get("items"), of_any, node.get("then")].into_iter().flatten() {
            bounds(schema, name, found);
        }
        for schema in node["allOf"].as_array().into_iter().flatten() {
            bounds(schema, name, found);
        }
        for schema in node["$defs"].as_object().into_iter().flat_map(|defs| defs.values()) {
            bounds(schema, "", found);
        }
    }

    #[test]
    fn queries_may_have_parameters_that_nobody_knows() {
        for (name, source) in SOURCES {
            if !name.split('.').any(|part| part == "query") {
                continue;
            }
            let schema: Value = serde_json::from_str(source).unwrap();
            assert!(schema.get("additionalProperties").is_none(), "{name}");
        }
    }

    #[test]
    fn whatever_is_named_is_bounded_and_on_every_surface_alike() {
        for (name, source) in SOURCES {
            if [".request", ".query", "chatkit/"].iter().any(|kind| name.contains(kind)) {
                let mut found = Vec::new();
                bounds(&serde_json::from_str(source).unwrap(), "", &mut found);
                assert!(found.is_empty(), "{name}: {found:?}");
            }
        }
    }

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
