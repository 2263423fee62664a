//! What the commands show.

use super::super::item::{Choice, Content, Image, Question, StructuredInput, WidgetContent};
use super::super::json::Json;
use super::super::thread::PIXEL;

/// Line ends, separators, controls, and text that looks like the framing of the stream.
pub(super) const UNICODE: &str = "emoji \u{1f469}\u{200d}\u{1f469}\u{200d}\u{1f467}\u{1f389} \
    CJK 你好世界 日本語 RTL שלום مرحبا combining e\u{301} U+2028[\u{2028}] U+2029[\u{2029}] \
    NEL[\u{85}] tab[\t] nl[\n] cr[\r] crlf[\r\n] nul[\0] bell[\u{7}] DEL[\u{7f}] BOM[\u{feff}] \
    quote[\"] backslash[\\] slash[/] astral[\u{1d4b3}\u{10348}] data: x\n\ndata: fake\n\n";

fn url_source() -> Json {
    Json::from([
        ("title", "Example".into()),
        ("description", "A page".into()),
        ("timestamp", "2025-01-01".into()),
        ("group", "Pages".into()),
        ("type", "url".into()),
        ("url", "https://example.com/".into()),
    ])
}

fn search_source() -> Json {
    Json::from([
        ("title", "Example".into()),
        ("type", "url".into()),
        ("url", "https://example.com/".into()),
        ("attribution", "example".into()),
    ])
}

fn file_source() -> Json {
    Json::from([
        ("title", "A file".into()),
        ("type", "file".into()),
        ("filename", "file.pdf".into()),
    ])
}

/// Gives a source of each kind.
pub(super) fn annotations() -> [Json; 3] {
    let entity = Json::from([
        ("title", "An entity".into()),
        ("type", "entity".into()),
        ("id", "entity_1".into()),
        ("icon", "user".into()),
        ("label", "Entity".into()),
        ("inline_label", "entity".into()),
        ("interactive", true.into()),
        ("data", Json::from([("nothing", Json::Null)])),
    ]);
    let annotation = |source, index: Option<i64>| {
        let mut entries =
            vec![("type".to_owned(), Json::from("annotation")), ("source".to_owned(), source)];
        entries.extend(index.map(|index| ("index".to_owned(), index.into())));
        Json::Object(entries)
    };
    [
        annotation(url_source(), Some(4)),
        annotation(file_source(), None),
        annotation(entity, Some(12)),
    ]
}

/// Gives the data of the client effect. A null in free-form data is kept.
pub(super) fn effect() -> Json {
    Json::from([("index", 142.into()), ("nothing", Json::Null)])
}

pub(super) fn image(id: &str) -> Image {
    Image::new(id, PIXEL)
}

/// Gives a choice of one, a choice of many, and a free text.
pub(super) fn questions() -> Content {
    let choice = |id: &str, question: &str, options: [&str; 2], multiple| {
        Question::choice(id, question, options.map(Choice::new).into(), multiple)
    };
    Content::StructuredInput(StructuredInput::pending(vec![
        choice("priority", "Which priority?", ["Low", "High"], false),
        choice("tags", "Which tags?", ["Red", "Blue"], true),
        Question::freeform("notes", "Notes?").with_description("Optional."),
    ]))
}

pub(super) fn task() -> Json {
    Json::from([
        ("status_indicator", "none".into()),
        ("type", "custom".into()),
        ("title", "A task".into()),
        ("content", "It has been done.".into()),
    ])
}

/// Gives a thought, as it begins and as it ends.
pub(super) fn thought(status: &str, content: &str) -> Json {
    Json::from([
        ("status_indicator", status.into()),
        ("type", "thought".into()),
        ("title", "Plan".into()),
        ("content", content.into()),
    ])
}

/// Gives a task of each of the other kinds.
pub(super) fn other_tasks() -> [Json; 4] {
    [
        Json::from([
            ("status_indicator", "none".into()),
            ("type", "web_search".into()),
            ("title", "Search".into()),
            ("title_query", "chatkit".into()),
            ("queries", vec!["chatkit".into(), "gateway".into()].into()),
            ("sources", vec![search_source()].into()),
        ]),
        Json::from([
            ("status_indicator", "none".into()),
            ("type", "file".into()),
            ("title", "Files".into()),
            ("sources", vec![file_source()].into()),
        ]),
        Json::from([
            ("status_indicator", "none".into()),
            ("type", "image".into()),
            ("title", "Image".into()),
        ]),
        Json::from([
            ("status_indicator", "complete".into()),
            ("type", "custom".into()),
            ("title", "Checked".into()),
            ("icon", "bolt".into()),
            ("content", "It is fine.".into()),
        ]),
    ]
}

pub(super) fn workflow(tasks: Vec<Json>, done: bool) -> Json {
    let mut entries = vec![("type", Json::from("reasoning")), ("tasks", tasks.into())];
    if done {
        let summary = Json::from([("title", "Done".into()), ("icon", "check".into())]);
        entries.push(("summary", summary));
    }
    entries.push(("expanded", false.into()));
    Json::Object(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// Gives a card with a button that was pressed so many times; the action says how many it will be.
pub(super) fn widget(presses: i64) -> Content {
    let state = match presses {
        0 => "Not pressed yet.".to_owned(),
        1 => "Pressed once.".to_owned(),
        times => format!("Pressed {times} times."),
    };
    let action = Json::from([
        ("type", "press".into()),
        ("payload", Json::from([("presses", presses.saturating_add(1).into())])),
        ("handler", "server".into()),
        ("loadingBehavior", "auto".into()),
        ("streaming", true.into()),
    ]);
    let children = vec![
        Json::from([("type", "Title".into()), ("value", "A widget".into())]),
        Json::from([
            ("id", "state".into()),
            ("type", "Text".into()),
            ("value", state.as_str().into()),
        ]),
        Json::from([
            ("type", "Button".into()),
            ("label", "Press".into()),
            ("onClickAction", action),
        ]),
    ];
    Content::Widget(WidgetContent {
        widget: Json::from([("type", "Card".into()), ("children", children.into())]),
        copy_text: Some(state),
    })
}

/// Tells how often the button was pressed, by the action that it sent.
pub(super) fn presses(payload: &Json) -> i64 {
    payload.get("presses").and_then(Json::as_lax_integer).unwrap_or(1)
}
