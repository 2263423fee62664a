//! The schemas of `schemas/` as components of the document, and what they leave to the
//! configuration.

use serde_json::{Map, Value, json};

use super::facts::Facts;
use crate::error::Error;
use crate::principal::MAX_USER_ID_CHARS;
use crate::session::ConversationIds;
use crate::validate::SOURCES;

/// A text with something in it that is no white space, in the words of Rust's
/// [`char::is_whitespace`] (Unicode's `White_Space`). Not `\S`: what that is differs between
/// ECMAScript, Python and Rust.
const NOT_BLANK: &str =
    r"[^\u0009-\u000d\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]";

/// A text without control characters, as users' ids are.
const NO_CONTROLS: &str = r"^[^\u0000-\u001f\u007f-\u009f]*$";

/// Base64 in its one right form (RFC 4648 section 4): padded, and without bits that say nothing.
const BASE64: &str = concat!(
    "^(?:[A-Za-z0-9+/]{4})*",
    "(?:[A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=|[A-Za-z0-9+/][AQgw]==)$",
);

/// Gives every schema by the name of its component.
///
/// # Errors
/// If one is not what this module takes it to be; a test rules that out.
pub(super) fn components(facts: &Facts) -> Result<Map<String, Value>, Error> {
    let mut components = Map::new();
    for (name, source) in SOURCES {
        let mut schema: Value = serde_json::from_str(source)
            .map_err(|error| Error::config(format!("schema {name} is not JSON")).with(error))?;
        let name = component(name);
        if let Value::Object(members) = &mut schema {
            members.remove("$schema");
            members.remove("$id");
            if let Some(Value::Object(definitions)) = members.remove("$defs") {
                for (key, mut definition) in definitions {
                    rewrite(&mut definition, &name);
                    components.insert(format!("{name}.{key}"), definition);
                }
            }
        }
        rewrite(&mut schema, &name);
        components.insert(name, schema);
    }
    bound_texts(&mut components, facts)?;
    shape_conversation_ids(&mut components, facts)?;
    Ok(components)
}

/// Gives the name of a schema's component, which has no slashes.
pub(super) fn component(schema: &str) -> String {
    schema.replace('/', ".")
}

/// Gives a reference to a schema's component.
pub(super) fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{}", component(schema)) })
}

/// Points references to where their targets are now, and says alternatives as such.
fn rewrite(schema: &mut Value, name: &str) {
    match schema {
        Value::Object(members) => {
            if let Some(Value::String(reference)) = members.get_mut("$ref")
                && let Some(key) = reference.strip_prefix("#/$defs/")
            {
                *reference = format!("#/components/schemas/{name}.{key}");
            }
            members.values_mut().for_each(|value| rewrite(value, name));
            if let Some(alternatives) = alternatives(members) {
                *schema = alternatives;
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| rewrite(value, name)),
        _ => {}
    }
}

/// Finds `if`/`then` for each value of a member that has one of several, as one schema for each
/// value.
///
/// The files have the former, because what is wrong is then told by its place; people and
/// generators read the latter more easily. They accept the same.
fn alternatives(schema: &Map<String, Value>) -> Option<Value> {
    let branches = schema.get("allOf")?.as_array()?;
    let mut alternatives = Vec::new();
    let mut member = None;
    for branch in branches {
        let condition = branch.get("if")?.get("properties")?.as_object()?;
        let (name, is) = condition.iter().next().filter(|_| condition.len() == 1)?;
        if *member.get_or_insert(name) != name {
            return None;
        }
        let value = is.get("const")?;
        let then = branch.get("then")?;
        let mut properties = Map::new();
        for source in [Some(&Value::Object(schema.clone())), Some(then)].into_iter().flatten() {
            if let Some(more) = source.get("properties").and_then(Value::as_object) {
                properties.extend(more.clone());
            }
        }
        properties.insert(name.clone(), json!({ "const": value }));
        let mut required = Vec::new();
        for source in [schema.get("required"), then.get("required")] {
            for name in source.and_then(Value::as_array).into_iter().flatten() {
                if !required.contains(name) {
                    required.push(name.clone());
                }
            }
        }
        let mut alternative = schema.clone();
        alternative.remove("allOf");
        alternative.insert("properties".into(), Value::Object(properties));
        alternative.insert("required".into(), Value::Array(required));
        alternatives.push(Value::Object(alternative));
    }
    let values = schema.get("properties")?.get(member?)?.get("enum")?.as_array()?;
    (values.len() == branches.len()).then(|| json!({ "oneOf": alternatives }))
}

/// Adds how long texts may be, and that messages must not be blank. The code that checks it has
/// refusals of its own for that, so the files don't say it.
fn bound_texts(components: &mut Map<String, Value>, facts: &Facts) -> Result<(), Error> {
    let max = facts.bodies.max_message_chars;
    let said = |place: &mut Map<String, Value>, max: usize| {
        place.insert("maxLength".into(), max.into());
        place.insert("pattern".into(), NOT_BLANK.into());
    };
    said(at(components, "create_run.request", "/properties/message")?, max);
    let content = at(components, "create_run.request", "/properties/message/properties/content")?;
    let blank = json!({
        "type": "object",
        "properties": { "text": { "type": "string", "pattern": NOT_BLANK } },
        "required": ["text"]
    });
    content.insert("contains".into(), blank);
    let parts =
        ["create_run.request", "chatkit.threads.create", "chatkit.threads.add_user_message"];
    for part in parts {
        for alternative in 0..2 {
            let place = format!("/oneOf/{alternative}/properties/text");
            let text = at(components, &format!("{part}.part"), &place)?;
            text.insert("maxLength".into(), max.into());
        }
    }
    for chat in ["chat.request", "chat_for_user.request"] {
        said(at(components, chat, "/properties/message")?, facts.bodies.max_chat_chars);
    }
    let audio = at(components, "create_transcription.request", "/properties/audio_base64")?;
    audio.insert("pattern".into(), BASE64.into());
    for (name, pointer) in [
        ("openai_create_session.request", "/properties/user"),
        ("openai_list_threads.query", "/properties/user"),
    ] {
        let user = at(components, name, pointer)?;
        user.insert("maxLength".into(), MAX_USER_ID_CHARS.into());
        user.insert("pattern".into(), NO_CONTROLS.into());
    }
    Ok(())
}

/// Says what the ids of conversations look like.
fn shape_conversation_ids(components: &mut Map<String, Value>, facts: &Facts) -> Result<(), Error> {
    const LISTED: &str = "/properties/conversations/items/properties/conversation_id";
    const OWN: &str = "/properties/conversation_id";
    let shape = match facts.chat.ids {
        ConversationIds::Uuid => json!({ "type": "string", "format": "uuid" }),
        ConversationIds::Integer => json!({ "type": "integer", "minimum": 1 }),
        ConversationIds::Conv => json!({ "type": "string", "pattern": "^conv_[0-9a-f]{8}$" }),
    };
    for (schema, pointer, or_null) in [
        ("chat.request", OWN, true),
        ("chat_for_user.request", OWN, true),
        ("chat.reply", OWN, false),
        ("chat_for_user.reply", OWN, false),
        ("list_conversations.reply", LISTED, false),
        ("list_conversations_for_user.reply", LISTED, false),
        ("get_conversation.reply", OWN, false),
        ("get_conversation_for_user.reply", OWN, false),
    ] {
        let id = at(components, schema, pointer)?;
        for (key, value) in shape.as_object().into_iter().flatten() {
            id.insert(key.clone(), value.clone());
        }
        if let (true, Some(kind)) = (or_null, shape.get("type")) {
            id.insert("type".into(), json!([kind, "null"]));
        }
    }
    Ok(())
}

fn at<'c>(
    components: &'c mut Map<String, Value>,
    name: &str,
    pointer: &str,
) -> Result<&'c mut Map<String, Value>, Error> {
    components
        .get_mut(name)
        .and_then(|schema| schema.pointer_mut(pointer))
        .and_then(Value::as_object_mut)
        .ok_or_else(|| Error::config(format!("schema {name} has nothing at {pointer}")))
}
