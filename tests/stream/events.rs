//! Random streams of a ChatKit server, and of servers that are stranger than that; and what they
//! say, read the slow and plain way.

use bytes::Bytes;
use chatkit_rest::stream::{EventKind, ItemKind};
use proptest::prelude::*;
use serde_json::Value;

use crate::support::{Fact, Told};

/// JSON with its members in any order, any white space, and any character escaped.
#[derive(Clone, Debug)]
pub(crate) enum Json {
    Literal(&'static str),
    Text(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => prop::sample::select(vec![
            "thr_1", "msg_1", "user_message", "assistant_message", "widget", "stream.error",
            "custom", "thread.created", "type", "id", "A title", "", "userMessage", "user",
            "assistant", "tool", "input_text", "end_of_turn", "hidden_context_item",
        ]).prop_map(str::to_owned),
        2 => prop::sample::select(vec![
            "\u{2028}x\u{2029}", "\u{85}", "\u{1f600}", "a\"b\\c", "\n\r\t", "{\"id\":\"no\"}",
            "data: {}\n\n", "\u{feff}", "[}", "ö",
        ]).prop_map(str::to_owned),
        1 => "\\PC{0,24}",
    ]
}

fn json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        2 => prop::sample::select(vec!["null", "true", "false", "0", "-1.5"])
            .prop_map(Json::Literal),
        3 => text().prop_map(Json::Text),
    ];
    leaf.prop_recursive(3, 24, 5, |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..4).prop_map(Json::Array),
            2 => object(inner).prop_map(Json::Object),
        ]
    })
}

/// Members with different names, in any order; many of them are of interest somewhere.
fn object(value: impl Strategy<Value = Json>) -> impl Strategy<Value = Vec<(String, Json)>> {
    let name = prop::sample::select(vec![
        "type",
        "thread",
        "item",
        "item_id",
        "code",
        "message",
        "allow_retry",
        "allowRetry",
        "error",
        "id",
        "title",
        "role",
        "content",
        "typ",
        "types",
        "Type",
        "",
        "x",
        "t\"ype",
        "\u{1f600}",
        "data",
    ]);
    prop::collection::vec((name, value), 0..7).prop_map(|members| {
        let mut kept: Vec<(String, Json)> = Vec::new();
        for (name, value) in members {
            // Two spellings of one name are one.
            let is_same = |known: &str| known.replace('R', "_r") == name.replace('R', "_r");
            if !kept.iter().any(|(known, _)| is_same(known)) {
                kept.push((name.to_owned(), value));
            }
        }
        kept
    })
}

/// Gives an event that is likely to be one of those that matter.
fn event() -> impl Strategy<Value = Json> {
    let kind = prop::sample::select(vec![
        "thread.created",
        "thread.updated",
        "thread.item.done",
        "thread.item.added",
        "thread.item.updated",
        "thread.item.removed",
        "thread.item.replaced",
        "stream_options",
        "progress_update",
        "error",
        "some.future.event",
    ]);
    let inner = prop_oneof![3 => object(json()).prop_map(Json::Object), 1 => json()];
    (kind, object(json()), inner.clone(), inner, any::<u64>()).prop_map(
        |(kind, mut members, thread, item, order)| {
            members.retain(|(name, _)| !["type", "thread", "item"].contains(&&**name));
            // An error tells of itself in one place.
            if members.iter().any(|(name, json)| name == "error" && matches!(json, Json::Object(_)))
            {
                let own = ["code", "message", "allow_retry", "allowRetry"];
                members.retain(|(name, _)| !own.contains(&&**name));
            }
            members.push(("type".to_owned(), Json::Text(kind.to_owned())));
            members.push(("thread".to_owned(), thread));
            members.push(("item".to_owned(), item));
            shuffle(&mut members, order);
            Json::Object(members)
        },
    )
}

fn shuffle<T>(items: &mut [T], mut order: u64) {
    for place in (1..items.len()).rev() {
        let other = usize::try_from(order % (place as u64 + 1)).unwrap();
        items.swap(place, other);
        order = order.rotate_left(7).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// Writes JSON as its author might have, by `noise`: spaces anywhere, any character escaped.
struct Writer<'a> {
    out: String,
    noise: std::iter::Cycle<std::slice::Iter<'a, u8>>,
}

impl Writer<'_> {
    fn noise(&mut self) -> u8 {
        self.noise.next().copied().unwrap_or(255)
    }

    fn space(&mut self) {
        match self.noise() {
            0..40 => self.out.push(' '),
            40..50 => self.out.push('\t'),
            _ => {}
        }
    }

    fn string(&mut self, text: &str) {
        use std::fmt::Write as _;
        self.out.push('"');
        for c in text.chars() {
            let escaped = c < ' ' || c == '"' || c == '\\' || self.noise() < 20;
            if escaped && self.noise() < 128 && matches!(c, '"' | '\\' | '/') {
                self.out.push('\\');
                self.out.push(c);
            } else if escaped {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    write!(self.out, "\\u{unit:04x}").unwrap();
                }
            } else {
                self.out.push(c);
            }
        }
        self.out.push('"');
    }

    fn value(&mut self, json: &Json) {
        self.space();
        match json {
            Json::Literal(literal) => self.out.push_str(literal),
            Json::Text(text) => self.string(text),
            Json::Array(values) => {
                self.out.push('[');
                for (index, value) in values.iter().enumerate() {
                    if index > 0 {
                        self.out.push(',');
                    }
                    self.value(value);
                }
                self.out.push(']');
            }
            Json::Object(members) => {
                self.out.push('{');
                for (index, (name, value)) in members.iter().enumerate() {
                    if index > 0 {
                        self.out.push(',');
                    }
                    self.space();
                    self.string(name);
                    self.space();
                    self.out.push(':');
                    self.value(value);
                }
                self.out.push('}');
            }
        }
        self.space();
    }
}

fn written(json: &Json, noise: &[u8]) -> String {
    let mut writer = Writer { out: String::new(), noise: noise.iter().cycle() };
    writer.value(json);
    writer.out
}

fn noise() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![2 => Just(vec![255]), 1 => prop::collection::vec(any::<u8>(), 1..40)]
}

/// Gives the data of one event: mostly JSON.
pub(crate) fn event_data() -> impl Strategy<Value = String> {
    prop_oneof![
        12 => (event(), noise()).prop_map(|(event, noise)| written(&event, &noise)),
        2 => (json(), noise()).prop_map(|(json, noise)| written(&json, &noise)),
        1 => prop::sample::select(vec!["[DONE]", "", "pong", "7"]).prop_map(str::to_owned),
    ]
}

#[derive(Clone, Debug)]
enum Block {
    /// An event; the number says where its JSON is broken into two `data` lines, if anywhere.
    Event(String, bool),
    Comment,
    Fields(String),
    Blank,
    Nonsense,
}

/// Gives a whole stream, in the grammar of server-sent events with all its liberties.
pub(crate) fn stream() -> impl Strategy<Value = Bytes> {
    let block = prop_oneof![
        8 => (event_data(), prop::bool::weighted(0.1)).prop_map(|(d, split)| Block::Event(d, split)),
        1 => Just(Block::Comment),
        1 => event_data().prop_map(Block::Fields),
        1 => Just(Block::Blank),
        1 => Just(Block::Nonsense),
    ];
    let ending = prop::sample::select(vec!["\n", "\n", "\n", "\r\n", "\r"]);
    (prop::collection::vec((block, ending), 0..8), prop::bool::weighted(0.1), any::<bool>())
        .prop_map(|(blocks, bom, cut_off)| {
            let mut out = String::new();
            if bom {
                out.push('\u{feff}');
            }
            for (block, end) in blocks {
                write_block(&mut out, &block, end);
            }
            if cut_off {
                out.push_str("data: {\"type\":\"thread.item.done\",\"item\":{");
            }
            Bytes::from(out)
        })
}

fn write_block(out: &mut String, block: &Block, end: &str) {
    let mut line = |parts: &[&str]| {
        for part in parts {
            out.push_str(part);
        }
        out.push_str(end);
    };
    match block {
        // A line break is white space to JSON if it comes right after the brace.
        Block::Event(data, true) if data.starts_with('{') => {
            line(&["data: {"]);
            line(&["data:", &data[1..]]);
        }
        Block::Event(data, _) => line(&["data: ", data]),
        Block::Comment => line(&[": ping"]),
        Block::Fields(data) => {
            line(&["event: message"]);
            line(&["data:", data]);
            line(&["id: 7"]);
            line(&["retry: 100"]);
        }
        Block::Blank => {}
        Block::Nonsense => {
            line(&["database: {}"]);
            line(&[" data: {\"type\":\"error\"}"]);
            line(&["dat"]);
        }
    }
    line(&[]);
}

/// Gives the data of every event of a whole stream, by the letter of the WHATWG's "interpreting an
/// event stream": decode, split into lines, process them one by one.
pub(crate) fn reference_events(stream: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(stream).expect("streams are UTF-8 here");
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    // What is after the last line's end is no line.
    let Some((whole, _)) = text.rsplit_once('\n') else { return Vec::new() };
    let mut events = Vec::new();
    let mut buffer = String::new();
    for line in whole.split('\n') {
        if line.is_empty() {
            if let Some(data) = buffer.strip_suffix('\n') {
                events.push(data.to_owned());
            }
            buffer.clear();
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        if field == "data" {
            buffer.push_str(value.strip_prefix(' ').unwrap_or(value));
            buffer.push('\n');
        }
    }
    events
}

/// Gives what an observer should be told of a whole stream, its end aside.
pub(crate) fn expected(stream: &[u8]) -> Vec<Told> {
    let mut told = Vec::new();
    let mut announced = false;
    for data in reference_events(stream) {
        let fact = reference_fact(&data);
        if let (false, EventKind::ThreadCreated, Some(id)) = (announced, fact.kind, &fact.id) {
            announced = true;
            told.push(Told::Created(id.clone()));
        }
        if let (EventKind::ThreadUpdated, Some(id)) = (fact.kind, &fact.id) {
            told.push(Told::Named(id.clone()));
        }
        told.push(Told::Event(fact));
    }
    told
}

pub(crate) fn reference_fact(data: &str) -> Fact {
    let value: Value = serde_json::from_str(data).unwrap_or_default();
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let id = |pointer: &str| match value.pointer(pointer) {
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => text(pointer),
    };
    let (kind, item_kind, id, title) = match value.get("type").and_then(Value::as_str) {
        Some("thread.created") => {
            (EventKind::ThreadCreated, None, id("/thread/id"), text("/thread/title"))
        }
        Some("thread.updated") => {
            (EventKind::ThreadUpdated, None, id("/thread/id"), text("/thread/title"))
        }
        Some("thread.item.done") => {
            let item_kind = value.get("item").and_then(reference_item_kind);
            (EventKind::ItemDone, item_kind, id("/item/id"), None)
        }
        Some("error") => (EventKind::Error, None, None, None),
        Some("stream_options") => (EventKind::StreamOptions, None, None, None),
        _ => (EventKind::Other, None, None, None),
    };
    let error = (kind == EventKind::Error).then(|| {
        let own =
            |name: &str| text(&format!("/{name}")).or_else(|| text(&format!("/error/{name}")));
        let allow_retry =
            ["/allow_retry", "/allowRetry", "/error/allow_retry", "/error/allowRetry"]
                .into_iter()
                .find_map(|pointer| value.pointer(pointer).and_then(Value::as_bool));
        let code = own("code").unwrap_or_else(|| "stream.error".to_owned());
        (code, own("message"), allow_retry.unwrap_or(false))
    });
    Fact { kind, item_kind, id, title, error }
}

/// Gives what an item is: its type says so, or who speaks in it and what it has.
fn reference_item_kind(item: &Value) -> Option<ItemKind> {
    let text = |pointer: &str| item.pointer(pointer).and_then(Value::as_str);
    let name = text("/type").unwrap_or_default();
    match name {
        "user_message" => return Some(ItemKind::UserMessage),
        "assistant_message" => return Some(ItemKind::AssistantMessage),
        "client_tool_call" => return Some(ItemKind::ClientToolCall),
        "structured_input" => return Some(ItemKind::StructuredInput),
        "end_of_turn" | "hidden_context_item" | "sdk_hidden_context" => {
            return Some(ItemKind::Unseen);
        }
        "generated_image" | "task" | "widget" | "workflow" => return Some(ItemKind::Other),
        _ => {}
    }
    match text("/role").map(str::to_ascii_lowercase).as_deref() {
        Some("user") => return Some(ItemKind::UserMessage),
        Some("assistant") => return Some(ItemKind::AssistantMessage),
        Some(_) => return Some(ItemKind::Other),
        None => {}
    }
    let content = item.get("content").filter(|content| !content.is_null());
    let Some(content) = content else {
        return (!name.is_empty()).then_some(ItemKind::Other);
    };
    let parts = content.as_array().map_or(std::slice::from_ref(content), Vec::as_slice);
    let is_input = |part: &Value| {
        part.get("type").and_then(Value::as_str).is_some_and(|name| name.starts_with("input_"))
    };
    let name = name.to_ascii_lowercase();
    let is_message = name.contains("message");
    let is_behind = ["system", "developer", "tool", "function"].iter().any(|it| name.contains(it));
    let is_users = name == "user" || (name.starts_with("user") && is_message);
    let is_known = name.is_empty() || (!is_behind && (is_message || name.starts_with("assistant")));
    if is_users || (is_known && parts.iter().any(is_input)) {
        return Some(ItemKind::UserMessage);
    }
    Some(if is_known { ItemKind::AssistantMessage } else { ItemKind::Other })
}
