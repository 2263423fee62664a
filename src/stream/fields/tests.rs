use super::*;

fn read(json: &str) -> (Fields, bool) {
    let mut fields = Fields::new();
    let more = fields.feed(json.as_bytes());
    // Byte by byte gives the same.
    let mut single = Fields::new();
    let mut single_more = true;
    for byte in json.as_bytes() {
        single_more = single_more && single.feed(&[*byte]);
    }
    assert_eq!(more, single_more);
    assert_eq!(fields.kind, single.kind);
    assert_eq!(fields.thread_id, single.thread_id);
    assert_eq!(fields.item_id, single.item_id);
    assert_eq!(fields.message, single.message);
    assert_eq!(fields.title, single.title);
    (fields, more)
}

#[test]
fn the_preamble_is_read_in_any_key_order() {
    for json in [
        r#"{"type":"thread.created","thread":{"id":"thr_1","created_at":"x","items":{"data":[],"id":"no"},"title":"A \"t\""}}"#,
        r#" { "thread" : { "items":{"data":[{"id":"no"}]}, "title":"A \"t\"", "id" : "thr_1" } , "type" : "thread.created" } "#,
        r#"{"\u0074ype":"thread.created","thread":{"id":"thr_1","title":"A \u0022t\u0022"},"id":"no"}"#,
    ] {
        let (fields, _) = read(json);
        assert_eq!(fields.kind, Some(EventKind::ThreadCreated), "{json}");
        assert_eq!(fields.thread_id.as_deref(), Some("thr_1"), "{json}");
        assert_eq!(fields.title.as_deref(), Some("A \"t\""), "{json}");
    }
}

#[test]
fn an_item_is_told_by_its_own_type_not_by_what_is_in_it() {
    let (fields, more) = read(
        r#"{"type":"thread.item.done","item":{"id":"msg_1","content":[{"type":"input_text","text":"{\"id\":1}"}],"type":"user_message"}}"#,
    );
    assert_eq!(fields.item_kind, Some(ItemKind::UserMessage));
    assert_eq!(fields.item_id.as_deref(), Some("msg_1"));
    assert!(!more);
    let (fields, _) = read(r#"{"type":"thread.item.done","item":[{"type":"user_message"}]}"#);
    assert_eq!(fields.item_kind, None);
}

#[test]
fn a_delta_is_not_read_beyond_its_type() {
    let mut fields = Fields::new();
    assert!(!fields.feed(br#"{"type":"thread.item.updated","#));
    assert_eq!(fields.kind, Some(EventKind::Other));
}

#[test]
fn an_error_is_read_whole() {
    let (fields, _) = read(
        r#"{"type":"error","code":"custom","message":"No \ud83d\ude00 left","allow_retry":false}"#,
    );
    assert_eq!(fields.code.as_deref(), Some("custom"));
    assert_eq!(fields.message.as_deref(), Some("No \u{1f600} left"));
    assert_eq!(fields.allow_retry, Some(false));
    let (fields, _) = read(r#"{"allow_retry" : true,"message":null,"type":"error"}"#);
    assert_eq!((fields.allow_retry, fields.message), (Some(true), None));
    for json in [
        r#"{"type":"error","error":{"code":"custom","x":[{"code":"no"}],"message":"No.","allow_retry":true}}"#,
        r#"{"error":{"allowRetry":true,"message":"No.","code":"custom"},"type":"error"}"#,
        r#"{"type":"error","code":"custom","message":"No.","allowRetry":true,"error":"x"}"#,
    ] {
        let (fields, _) = read(json);
        assert_eq!(fields.kind, Some(EventKind::Error), "{json}");
        assert_eq!(fields.code.as_deref(), Some("custom"), "{json}");
        assert_eq!(fields.message.as_deref(), Some("No."), "{json}");
        assert_eq!(fields.allow_retry, Some(true), "{json}");
    }
}

#[test]
fn an_id_may_be_a_number() {
    for (json, id) in [
        (r#"{"type":"thread.created","thread":{"id":7}}"#, "7"),
        (
            r#"{"thread":{"title":null,"n":8,"id" : -12.5e3 ,"m":[9]},"type":"thread.created"}"#,
            "-12.5e3",
        ),
    ] {
        let (fields, _) = read(json);
        assert_eq!(fields.thread_id.as_deref(), Some(id), "{json}");
    }
    for json in [
        r#"{"type":"thread.item.done","item":{"type":"user_message","id":70,"x":1}}"#,
        r#"{"type":"thread.item.done","item":{"id":70,"x":1,"type":"user_message","y":2}}"#,
    ] {
        let (fields, more) = read(json);
        assert_eq!(fields.item_id.as_deref(), Some("70"));
        assert_eq!(fields.item_kind, Some(ItemKind::UserMessage));
        assert!(!more);
    }
    let long = format!(r#"{{"type":"thread.created","thread":{{"id":{}}}}}"#, "7".repeat(600));
    assert_eq!(read(&long).0.thread_id, None);
    for json in [
        r#"{"type":"thread.created","thread":{"id":null,"n":7}}"#,
        r#"{"type":"thread.created","thread":{"id":[7]}}"#,
        r#"{"type":"thread.created","thread":7,"id":7}"#,
    ] {
        assert_eq!(read(json).0.thread_id, None, "{json}");
    }
}

#[test]
fn a_name_may_be_escaped_throughout() {
    use std::fmt::Write as _;
    let escaped = |name: &str| {
        name.bytes().fold(String::new(), |mut all, byte| {
            write!(all, "\\u{byte:04x}").unwrap();
            all
        })
    };
    for (name, kind) in [
        ("assistant_message", ItemKind::AssistantMessage),
        ("user_message", ItemKind::UserMessage),
        ("structured_input", ItemKind::StructuredInput),
    ] {
        for event in ["thread.item.done", "thread.item.replaced"] {
            let json = format!(
                r#"{{"item":{{"{}":"{}"}},"type":"{}"}}"#,
                escaped("type"),
                escaped(name),
                escaped(event)
            );
            let (fields, _) = read(&json);
            assert_eq!(fields.kind, Some(EventKind::parse(event.as_bytes())), "{json}");
            assert_eq!(fields.item_kind, Some(kind), "{json}");
        }
    }
}

#[test]
fn what_is_too_long_or_broken_gives_no_field() {
    let long = format!(r#"{{"type":"thread.created","thread":{{"id":"{}"}}}}"#, "x".repeat(600));
    assert_eq!(read(&long).0.thread_id, None);
    for json in ["", "[DONE]", "{", r#"{"type"#, r#"{"type":7}"#, "}}]]", r#""type""#] {
        assert_eq!(read(json).0.kind, None, "{json}");
    }
}

#[test]
fn an_event_of_a_long_type_says_something_however_it_is_cut() {
    let json = format!(r#"{{"type":"{}","text":"x"}}"#, "unknown".repeat(20));
    for after_output in [false, true] {
        for size in [1, 10, json.len()] {
            let mut fields = Fields::new();
            fields.after_output = after_output;
            let _ = json.as_bytes().chunks(size).all(|piece| fields.feed(piece));
            assert!(!fields.says_nothing(), "pieces of {size}");
        }
    }
}

#[test]
fn of_a_long_title_the_beginning_is_read() {
    let pairs = r"\ud83d\ude00".repeat(2000);
    for (title, beginning, more) in [
        ("é".repeat(4000), "é", 2048),
        (format!("x{}", "é".repeat(4000)), "xé", 2047),
        (pairs.clone(), "\u{1f600}", 341),
        (format!("x{pairs}"), "x\u{1f600}", 341),
        (format!("{}{pairs}", "x".repeat(4090)), "x", 4090),
        (r#"\""#.repeat(4000), "\"", 2048),
        (format!("x{}", r#"\""#.repeat(4000)), "x\"", 2047),
    ] {
        let json =
            format!(r#"{{"thread":{{"title":"{title}","id":"thr_1"}},"type":"thread.updated"}}"#);
        let (fields, _) = read(&json);
        let read = fields.title.unwrap();
        assert!(read.starts_with(beginning), "{beginning}");
        assert_eq!(
            read.trim_start_matches('x').chars().count().max(read.matches('x').count()),
            more
        );
        assert_eq!(fields.thread_id.as_deref(), Some("thr_1"));
    }
    // What is no text is none, however long.
    let broken =
        format!(r#"{{"type":"thread.updated","thread":{{"title":"{}"}}}}"#, r"\q".repeat(3000));
    assert_eq!(read(&broken).0.title, None);
}
