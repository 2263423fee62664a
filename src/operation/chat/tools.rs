//! The tools that an item shows to have been used, by their names.
//!
//! ChatKit has items for the tools of the client, and none for those of the server: of these a
//! user sees what the server's author chose to show, mostly as a task. Only what an item says
//! itself is told, so a task that is called "Looking up orders" names no tool, and one that is
//! called `look_up_orders` does.

use std::collections::HashSet;

use crate::stream::{ItemKind, Object};

/// The longest name of a tool: the Model Context Protocol's.
const MAX_NAME_BYTES: usize = 128;

/// Gives the names of the tools that an item shows, in its order; a tool that was used twice is
/// there twice. The annotations of a message are notes of what was used rather than uses: they name
/// a tool once.
pub(crate) fn shown(item: &Object<'_>) -> Vec<String> {
    match item.text("type").as_deref() {
        Some("client_tool_call") => {
            item.text("name").filter(|name| !name.is_empty()).into_iter().collect()
        }
        // What the Agents SDK makes of that hosted tool of OpenAI's.
        Some("generated_image") => vec!["image_generation".to_owned()],
        Some("task") => item.object("task").as_ref().and_then(tool_of_task).into_iter().collect(),
        Some("workflow") => objects(item.object("workflow").as_ref(), "tasks")
            .filter_map(|task| tool_of_task(&task))
            .collect(),
        _ if item.item_kind() == Some(ItemKind::AssistantMessage) => {
            let (mut names, mut known) = (Vec::new(), HashSet::new());
            for name in objects(Some(item), "content")
                .flat_map(|part| objects(Some(&part), "annotations").collect::<Vec<_>>())
                .filter_map(|annotation| tool_of_source(&annotation.object("source")?))
            {
                if known.insert(name.clone()) {
                    names.push(name);
                }
            }
            names
        }
        Some(_) | None => Vec::new(),
    }
}

/// Gives the objects of a list that is a member.
fn objects<'a>(
    of: Option<&Object<'a>>,
    member: &str,
) -> impl Iterator<Item = Object<'a>> + use<'a> {
    of.map(|object| object.list(member)).unwrap_or_default().into_iter().filter_map(Object::of)
}

/// Gives the name of a task's tool. A thought is no tool, and the titles of files and images are
/// those of files and images.
fn tool_of_task(task: &Object<'_>) -> Option<String> {
    match &*task.text("type")? {
        "web_search" => Some("web_search".to_owned()),
        "custom" => name(task.text("title")?),
        _ => None,
    }
}

/// Gives the name of a source's tool. `data` is its author's own: it names a tool if it says so.
fn tool_of_source(source: &Object<'_>) -> Option<String> {
    let data = source.object("data")?;
    ["tool", "tool_name"].into_iter().find_map(|member| name(data.text(member)?))
}

/// Gives a text that is a name and no words: letters, digits and `_`, with `-` and `.` between
/// them, and not `Searching`, which is written as a title is.
fn name(text: String) -> Option<String> {
    if text.len() > MAX_NAME_BYTES {
        return None;
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let (first, last) = (text.bytes().next()?, text.bytes().next_back()?);
    let is_one = !first.is_ascii_digit()
        && is_plain(first)
        && is_plain(last)
        && text.bytes().all(|byte| is_plain(byte) || matches!(byte, b'-' | b'.'));
    let is_word = first.is_ascii_uppercase()
        && text.bytes().skip(1).all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    (is_one && !is_word).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(item: &str) -> Vec<String> {
        shown(&Object::read(item).unwrap())
    }

    #[test]
    fn only_what_an_item_says_is_told() {
        for (item, expected) in [
            (r#"{"type":"client_tool_call","name":"Any name"}"#, vec!["Any name"]),
            (r#"{"type":"client_tool_call","name":""}"#, vec![]),
            (r#"{"type":"client_tool_call","name":7}"#, vec!["7"]),
            (r#"{"type":"client_tool_call","name":["a"]}"#, vec![]),
            (r#"{"type":"generated_image","image":null}"#, vec!["image_generation"]),
            (r#"{"type":"task","task":{"type":"custom","title":"add_task"}}"#, vec!["add_task"]),
            (r#"{"type":"task","task":{"type":"custom","title":null}}"#, vec![]),
            (r#"{"type":"task","task":{"type":"web_search","title":"x"}}"#, vec!["web_search"]),
            (r#"{"type":"task","task":"add_task"}"#, vec![]),
            (
                r#"{"type":"workflow","workflow":{"type":"custom","tasks":[
                    {"type":"thought","title":"list_tasks","content":"?"},
                    {"type":"custom","title":"list_tasks","icon":"bolt"},
                    {"type":"file","title":"notes.md","sources":[]}, 7, {"type":8},
                    {"type":"image","title":"img"}, {"type":"later","title":"add_task"},
                    {"type":"custom","title":"Looking up orders","content":"list_tasks"},
                    {"type":"web_search","queries":["a"]},
                    {"type":"custom","title":"list_tasks"}
                ]}}"#,
                vec!["list_tasks", "web_search", "list_tasks"],
            ),
            (r#"{"type":"workflow","workflow":{"tasks":"add_task"}}"#, vec![]),
            (
                r#"{"type":"assistant_message","content":[{"text":"a","annotations":[
                    {"source":{"type":"url","title":"add_task","url":"u"}},
                    {"source":{"type":"entity","id":"add_task","title":"add_task","data":{}}},
                    {"source":{"type":"entity","data":{"tool":"add_task"}}}, {"source":null}
                ]}, {"text":"b"}, {"annotations":[
                    {"source":{"type":"entity","data":{"tool":"add_task","tool_name":"x"}}},
                    {"source":{"type":"entity","data":{"tool_name":"list_tasks"}}},
                    {"source":{"type":"entity","data":{"tool":"A tool"}}}
                ]}]}"#,
                vec!["add_task", "list_tasks"],
            ),
            (r#"{"type":"assistant_message","content":"add_task"}"#, vec![]),
            (r#"{"type":"widget","name":"add_task","task":{"type":"web_search"}}"#, vec![]),
            (r#"{"type":"hidden_context_item","content":"add_task"}"#, vec![]),
        ] {
            assert_eq!(of(item), expected, "{item}");
        }
    }

    #[test]
    fn a_name_is_no_words() {
        let longest = "x".repeat(MAX_NAME_BYTES);
        for text in [
            "add_task",
            "addTask",
            "AddTask",
            "tasks.add",
            "add-task",
            "_add",
            "add2",
            "ADD_TASK",
            "lookup",
            "HTTP",
            "Add_task",
            &longest,
        ] {
            assert_eq!(name(text.to_owned()).as_deref(), Some(text));
        }
        let too_long = format!("{longest}x");
        for text in [
            "",
            "Searching",
            "Follow-up",
            "Looking up",
            "add task",
            "add_task()",
            "loading...",
            "add-",
            ".x",
            "2024",
            "Über",
            "größe",
            "a/b",
            "add_task\n",
            &too_long,
        ] {
            assert_eq!(name(text.to_owned()), None, "{text}");
        }
    }
}
