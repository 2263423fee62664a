//! What a hostile body costs in memory: at most eight times its size and 16 MiB beside.
//!
//! Every operation with a body, on every surface, is sent a megabyte of each kind of JSON that is
//! small as text and large as anything else: as its whole body, and as each member that it knows.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends where an expectation fails"
)]

#[path = "bench/gateway.rs"]
mod gateway;

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use allocation_counter::measure;
use bytes::Bytes;
use chatkit_rest::operation::Name;
use chatkit_rest::protocol::RequestType;
use chatkit_rest::surface::Surface;
use chatkit_rest::validate::SOURCES;
use gateway::Furnished;
use http::StatusCode;
use http_body::Body as _;
use serde_json::Value;
use tower::ServiceExt as _;

const MIB: usize = 1 << 20;

/// `limits.max_body_bytes`, less what the members around it take.
const SIZE: usize = MIB - 2048;

/// Gives what a body may cost at its peak, the body itself not counted.
fn allowed(body: usize) -> usize {
    8 * body + 16 * MIB
}

/// Makes `open`, as many times `each` as fit into [`SIZE`], and `close`.
fn filled(open: &str, each: impl Fn(usize) -> String, close: &str) -> String {
    let mut text = String::with_capacity(SIZE);
    text.push_str(open);
    for n in 0.. {
        let next = each(n);
        if text.len() + next.len() + close.len() > SIZE {
            break;
        }
        text.push_str(&next);
    }
    text + close
}

/// What is sent as each member, too.
const MEMBERS: [&str; 9] = [
    "zeros",
    "small objects",
    "deep",
    "members",
    "one key",
    "escapes",
    "wrong values",
    "empty objects",
    "wrong answers",
];

/// Makes JSON, or nearly, of a megabyte each.
fn hostile() -> Vec<(&'static str, String)> {
    let same = |text: &'static str| move |_: usize| text.to_owned();
    vec![
        ("zeros", filled("[", same("0,"), "0]")),
        ("small objects", filled("[", same(r#"{"a":0},"#), "0]")),
        ("empty arrays", filled("[", same("[],"), "0]")),
        ("empty texts", filled("[", same("\"\","), "0]")),
        ("deep", filled("", same("["), "")),
        ("deep, again and again", {
            let deep = format!("{}{},", "[".repeat(50), "]".repeat(50));
            filled("[", move |_| deep.clone(), "0]")
        }),
        ("members", filled("{", |n| format!("\"a{n}\":0,"), r#""z":0}"#)),
        ("unknown members", filled("{", |n| format!("\"unknown{n}\":0,"), r#""z":0}"#)),
        ("long unknown members", {
            let long = "x".repeat(240);
            filled("{", move |n| format!("\"{long}{n}\":0,"), r#""z":0}"#)
        }),
        ("the same key", filled("{", same(r#""a":0,"#), r#""a":0}"#)),
        ("one key", filled("{\"", same("k"), "\":0}")),
        ("a text", filled("\"", same("x"), "\"")),
        ("escapes", filled("\"", same("\\u00e9"), "\"")),
        ("short escapes", filled("\"", same("\\n"), "\"")),
        ("a number", filled("", same("1"), "")),
        ("a fraction", filled("0.", same("0"), "1")),
        // These have as many values as they may.
        ("wrong values", format!("[{}0]", "0,".repeat(9900))),
        ("empty objects", format!("[{}0]", "{},".repeat(9900))),
        ("wrong members", {
            let members: Vec<_> = (0..4900).map(|n| format!("\"m{n}\":0")).collect();
            format!("{{{}}}", members.join(","))
        }),
        ("wrong answers", {
            let answers: Vec<_> =
                (0..1600).map(|n| format!("\"m{n}\":{{\"values\":[0],\"x\":0}}")).collect();
            format!("{{{}}}", answers.join(","))
        }),
        ("wrong parts", {
            let long = "x".repeat(100);
            filled("[", move |_| format!(r#"{{"type":"{long}"}},"#), "0]")
        }),
    ]
}

struct Case {
    name: String,
    request: http::Request<http_body_util::Full<Bytes>>,
    size: usize,
}

/// Gives the names of an object schema's properties.
fn properties(schema: &Value) -> Vec<String> {
    let properties = schema["properties"].as_object();
    properties.into_iter().flat_map(|members| members.keys().cloned()).collect()
}

fn schema(name: &str) -> Value {
    let (_, source) = SOURCES.iter().find(|(known, _)| *known == name).unwrap();
    serde_json::from_str(source).unwrap()
}

/// Gives the bodies of an operation that have `value` in them somewhere.
fn bodies(operation: Name, kind: &str, value: &str) -> Vec<(String, String)> {
    let mut bodies = vec![("the body".to_owned(), value.to_owned())];
    if operation.surface() == Surface::Rest && MEMBERS.contains(&kind) {
        members(operation, value, &mut bodies);
    }
    bodies
}

fn members(operation: Name, value: &str, bodies: &mut Vec<(String, String)>) {
    if operation == Name::Passthrough {
        // A params member of one type is read as that of any other.
        for kind in [
            RequestType::AttachmentsCreate,
            RequestType::InputTranscribe,
            RequestType::ItemsFeedback,
            RequestType::ThreadsAddClientToolOutput,
            RequestType::ThreadsAddStructuredInput,
            RequestType::ThreadsAddUserMessage,
            RequestType::ThreadsCustomAction,
            RequestType::ThreadsList,
        ] {
            let request = |params: &str| format!(r#"{{"type":"{kind}","params":{params}}}"#);
            bodies.push((format!("{kind} params"), request(value)));
            for member in properties(&schema(&format!("chatkit/{kind}"))["properties"]["params"]) {
                let params = format!(r#"{{"thread_id":"{}","{member}":{value}}}"#, gateway::THREAD);
                let params = if member == "thread_id" {
                    format!(r#"{{"thread_id":{value}}}"#)
                } else {
                    params
                };
                bodies.push((format!("{kind} {member}"), request(&params)));
            }
        }
        let input = |content: &str| {
            let rest = r#""attachments":[],"inference_options":{}"#;
            let params = format!(
                r#"{{"thread_id":"{}","input":{{"content":{content},{rest}}}}}"#,
                gateway::THREAD
            );
            format!(r#"{{"type":"threads.add_user_message","params":{params}}}"#)
        };
        bodies.push(("content".to_owned(), input(value)));
        let tag = format!(r#"[{{"type":"input_tag","id":"a","text":"b","data":{value}}}]"#);
        bodies.push(("data".to_owned(), input(&tag)));
        let unknown = format!(r#"{{"type":"threads.list","params":{{}},"x":{value}}}"#);
        bodies.push(("an unknown member".to_owned(), unknown));
    } else if let Some((_, source)) =
        SOURCES.iter().find(|(name, _)| *name == format!("{operation}.request"))
    {
        for member in properties(&serde_json::from_str(source).unwrap()) {
            bodies.push((member.clone(), format!(r#"{{"{member}":{value}}}"#)));
        }
        let action = format!(r#"{{"action":{{"type":"t","payload":{value}}}}}"#);
        bodies.push(("payload".to_owned(), action));
        let message = format!(r#"{{"message":{{"role":"user","content":{value}}}}}"#);
        bodies.push(("content".to_owned(), message));
    }
}

fn cases(furnished: &Furnished, kind: &str, value: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    for operation in Name::ALL.into_iter().filter(|operation| operation.has_body()) {
        let (method, path) = (operation.method(), operation.path());
        for (place, body) in bodies(operation, kind, value) {
            let size = body.len();
            assert!(size <= MIB, "{size}");
            let request = furnished.of_surface(operation.surface(), &method, path, body);
            cases.push(Case { name: format!("{operation}: {kind} as {place}"), request, size });
        }
    }
    cases
}

#[test]
fn a_hostile_body_costs_little_more_than_itself() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    let furnished = Furnished::new();
    let service = gateway::gateway(&furnished.rooms, 1);
    let mut refused = 0;
    let mut passed = 0;
    // What is made once, such as the automata of patterns, is made here.
    for case in cases(&furnished, "nothing", "0") {
        let answered = pin!(service.clone().oneshot(case.request));
        let _ = answered.poll(&mut Context::from_waker(Waker::noop()));
    }
    for (kind, value) in hostile() {
        for Case { name, request, size } in cases(&furnished, kind, &value) {
            let mut status = None;
            let counted = measure(|| {
                let mut answered = pin!(service.clone().oneshot(request));
                let mut cx = Context::from_waker(Waker::noop());
                let Poll::Ready(answer) = answered.as_mut().poll(&mut cx) else { return };
                let answer = answer.map_err(|error| error.into().to_string()).unwrap();
                status = Some(answer.status());
                let mut body = pin!(answer.into_body());
                while let Poll::Ready(Some(frame)) = body.as_mut().poll_frame(&mut cx) {
                    frame.unwrap();
                }
            });
            match status {
                Some(StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE) => refused += 1,
                _ => passed += 1,
            }
            let peak = usize::try_from(counted.bytes_max).unwrap();
            assert!(peak <= allowed(size), "{name}: {peak} bytes at the peak, {status:?}");
            // What an allocation is for is a value that may be there, or a fixed number of them.
            assert!(counted.count_total < 100_000, "{name}: {} allocations", counted.count_total);
        }
    }
    assert!(refused > 500 && passed > 20, "{refused} refused, {passed} not");
}
