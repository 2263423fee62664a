//! The runner finds what is wrong: fixtures that hold, each changed in one place.

use std::fs;
use std::sync::Arc;

use bytes::Bytes;
use chatkit_rest::contract::{self, Fixture, Report, Target, Verdict};
use chatkit_rest::error::{BoxError, Error};
use chatkit_rest::health::HealthLayer;
use chatkit_rest::proxy::Rooms;
use chatkit_rest::session::MemoryStore;
use http::Response;
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tower::{ServiceExt as _, service_fn};

use crate::fixtures;

fn read(name: &str) -> Value {
    let text = fs::read_to_string(fixtures().join(format!("{name}.json"))).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn parse(name: &str, fixture: &Value) -> Fixture {
    Fixture::parse(fixtures(), name, &fixture.to_string()).unwrap()
}

/// Gives the places at which a fixture differs, in the order found.
fn places(report: &Report) -> Vec<String> {
    match &report.outcomes()[0].verdict {
        Verdict::Failed(differences) => {
            differences.iter().map(|difference| difference.place.clone()).collect()
        }
        _ => Vec::new(),
    }
}

/// A fixture changed in one place, and where the runner must find that.
struct Mutation {
    fixture: &'static str,
    change: fn(&mut Value),
    place: &'static str,
}

const fn mutation(fixture: &'static str, change: fn(&mut Value), place: &'static str) -> Mutation {
    Mutation { fixture, change, place }
}

fn step(fixture: &mut Value, index: usize) -> &mut Value {
    &mut fixture["steps"][index]
}

fn expect(fixture: &mut Value) -> &mut Value {
    &mut step(fixture, 0)["expect"]
}

fn upstream(fixture: &mut Value, index: usize) -> &mut Value {
    &mut step(fixture, 0)["upstream"][index]
}

fn text_of_stream(fixture: &mut Value, change: impl Fn(&mut Vec<u8>)) {
    let events = upstream(fixture, 0)["answer"]["events"].as_array().unwrap();
    let events: Vec<String> = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    let mut bytes = events.concat().into_bytes();
    change(&mut bytes);
    expect(fixture)["body"] = String::from_utf8(bytes).unwrap().into();
}

const MUTATIONS: &[Mutation] = &[
    mutation("create_run/first_message", |f| expect(f)["status"] = json!(201), "status"),
    mutation(
        "create_run/first_message",
        |f| expect(f)["headers"]["x-accel-buffering"] = json!("yes"),
        "header x-accel-buffering",
    ),
    mutation(
        "create_run/first_message",
        |f| expect(f)["headers"]["x-request-id"] = Value::Null,
        "header x-request-id",
    ),
    mutation(
        "create_run/first_message",
        |f| expect(f)["headers"]["x-not-there"] = json!("$any"),
        "header x-not-there",
    ),
    mutation("create_run/first_message", |f| expect(f)["end"] = json!("cut"), "end"),
    mutation("create_run/first_message", |f| upstream(f, 0)["answer"]["end"] = json!("cut"), "end"),
    mutation("create_run/cut_after_output", |f| expect(f)["end"] = json!("clean"), "end"),
    mutation("create_run/reset_after_output", |f| expect(f)["end"] = json!("clean"), "end"),
    mutation(
        "create_run/first_message",
        |f| text_of_stream(f, |bytes| bytes[1000] ^= 1),
        "body, byte 1000",
    ),
    mutation(
        "create_run/first_message",
        |f| text_of_stream(f, |bytes| bytes.truncate(bytes.len() - 1)),
        "body, byte ",
    ),
    mutation(
        "create_run/first_message",
        |f| upstream(f, 0)["headers"]["x-user-id"] = json!("bob"),
        "upstream request 1 header x-user-id",
    ),
    mutation(
        "create_run/first_message",
        |f| upstream(f, 0)["headers"]["accept"] = Value::Null,
        "upstream request 1 header accept",
    ),
    mutation(
        "create_run/first_message",
        |f| {
            upstream(f, 0)["request"]["params"]["input"]["content"][0]["text"] = json!("Hello");
        },
        "upstream request 1 /params/input/content/0/text",
    ),
    mutation(
        "create_run/first_message",
        |f| {
            upstream(f, 0)["request"]["metadata"] = json!({});
        },
        "upstream request 1 /metadata",
    ),
    mutation(
        "create_run/first_message",
        |f| {
            let again = upstream(f, 0).clone();
            step(f, 0)["upstream"].as_array_mut().unwrap().push(again);
        },
        "upstream request 2",
    ),
    mutation(
        "get_session/messages",
        |f| {
            step(f, 0)["upstream"].as_array_mut().unwrap().remove(0);
        },
        "upstream request",
    ),
    mutation(
        "get_session/messages",
        |f| {
            step(f, 0)["upstream"].as_array_mut().unwrap().swap(0, 1);
        },
        "upstream request 1",
    ),
    mutation(
        "get_session/messages",
        |f| expect(f)["json"]["data"]["messages"][1]["content"][0]["text"] = json!("Echo"),
        "body /data/messages/1/content/0/text",
    ),
    mutation(
        "get_session/messages",
        |f| {
            expect(f)["json"]["data"].as_object_mut().unwrap().remove("title");
        },
        "body /data/title",
    ),
    mutation(
        "get_session/messages",
        |f| expect(f)["json"]["data"]["extra"] = json!("$any"),
        "body /data/extra",
    ),
    mutation(
        "create_run/message_limit",
        |f| {
            expect(f)["error"].as_object_mut().unwrap().remove("details");
        },
        "body /details",
    ),
    mutation(
        "create_run/message_limit",
        |f| expect(f)["error"]["code"] = json!("SESSION_LIMIT"),
        "body /code",
    ),
    mutation(
        "create_run/message_limit",
        |f| expect(f)["error"]["message"] = json!("No."),
        "body /message",
    ),
    mutation("create_run/message_limit", |f| f["settings"] = json!({}), "status"),
    mutation(
        "passthrough/white_space",
        |f| {
            let request = &mut step(f, 0)["request"];
            let text = request["text"].as_str().unwrap();
            upstream(f, 0)["request"] =
                serde_json::from_str(text.replace("thr_", "thr-").as_str()).unwrap();
        },
        "upstream request 1 /params/thread_id",
    ),
    mutation(
        "create_run/two_first_messages",
        |f| step(f, 0)["meanwhile"][0]["expect"]["status"] = json!(200),
        "status",
    ),
    mutation(
        "create_run/upstream_refuses_connections",
        |f| {
            upstream(f, 0)["answer"] = json!({"status": 500, "text": "no"});
            expect(f)["error"]["code"] = json!("UPSTREAM_TIMEOUT");
        },
        "body /code",
    ),
    mutation(
        "create_session/with_a_title",
        |f| step(f, 0)["capture"]["session"] = json!("/data/no"),
        "body /data/no",
    ),
];

async fn every_mutation_is_found(target: Target) {
    for Mutation { fixture: name, change, place } in MUTATIONS {
        let mut fixture = read(name);
        let held = contract::run(&[parse(name, &fixture)], &target).await;
        assert_eq!(held.passed(), 1, "{name} before the change: {held}");
        change(&mut fixture);
        let report = contract::run(&[parse(name, &fixture)], &target).await;
        let places = places(&report);
        let found = places.iter().any(|found| found.starts_with(place));
        assert!(found, "{name}: {place} is not among {places:?}");
        assert_eq!(report.failed(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn every_mutation_is_found_in_process() {
    every_mutation_is_found(Target::in_process()).await;
}

#[tokio::test]
async fn every_mutation_is_found_over_sockets() {
    every_mutation_is_found(Target::sockets()).await;
}

#[tokio::test(start_paused = true)]
async fn the_text_of_a_stream_is_the_upstreams() {
    // What the mutations of single bytes begin with.
    let mut fixture = read("create_run/first_message");
    text_of_stream(&mut fixture, |_| {});
    let report = contract::run(&[parse("create_run/x", &fixture)], &Target::in_process()).await;
    assert!(report.is_success() && report.passed() == 1, "{report}");
}

/// Gives the rooms, with something outside of them that tampers with what they answer.
fn tampering(tamper: fn(Response<Bytes>, bool) -> (Response<Bytes>, bool)) -> Target {
    Target::service(move |upstream, config| {
        let store = Arc::new(MemoryStore::new());
        let rooms = Rooms::from_config(config, store, HealthLayer::elsewhere())?.around(upstream);
        Ok::<_, Error>(service_fn(move |request| {
            let rooms = rooms.clone();
            async move {
                let (head, mut body) =
                    rooms.oneshot(request).await.map_err(Into::into)?.into_parts();
                let (mut bytes, mut cut) = (Vec::new(), false);
                while let Some(frame) = body.frame().await {
                    match frame {
                        Ok(frame) => bytes.extend_from_slice(&frame.into_data().unwrap()),
                        Err(_) => cut = true,
                    }
                }
                let whole = Response::from_parts(head, Bytes::from(bytes));
                let (response, cut) = tamper(whole, cut);
                Ok::<_, BoxError>(response.map(|bytes| {
                    let end = cut.then(|| Err(BoxError::from("cut")));
                    let frames = [Ok(http_body::Frame::data(bytes))].into_iter().chain(end);
                    http_body_util::StreamBody::new(Frames(frames.collect()))
                }))
            }
        }))
    })
}

struct Frames(std::collections::VecDeque<Result<http_body::Frame<Bytes>, BoxError>>);

impl futures_core::Stream for Frames {
    type Item = Result<http_body::Frame<Bytes>, BoxError>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Ready(self.0.pop_front())
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_gateway_must_not_do_is_found() {
    let untouched = tampering(|response, cut| (response, cut));
    let ends_cleanly = tampering(|response, _| (response, false));
    let adds_a_byte = tampering(|response, cut| {
        (response.map(|bytes| Bytes::from([&bytes[..], b"\n"].concat())), cut)
    });
    let drops_a_byte = tampering(|response, cut| {
        (response.map(|bytes| bytes.slice(..bytes.len().saturating_sub(1))), cut)
    });
    let changes_an_id = tampering(|response, cut| {
        let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        let fields = |id: &str| format!("\"request_id\":\"{id}");
        (response.map(|bytes| text(bytes).replace(&fields(""), &fields("x")).into()), cut)
    });
    for (target, name, place) in [
        (&untouched, "create_run/cut_after_output", None),
        (&ends_cleanly, "create_run/cut_after_output", Some("end")),
        (&untouched, "passthrough/threads_create", None),
        (&adds_a_byte, "passthrough/threads_create", Some("body, byte ")),
        (&drops_a_byte, "passthrough/threads_create", Some("body, byte ")),
        (&drops_a_byte, "passthrough/input_transcribe", Some("body, byte ")),
        (&untouched, "get_session/unknown", None),
        (&changes_an_id, "get_session/unknown", Some("body /request_id")),
    ] {
        let report = contract::run(&[parse(name, &read(name))], target).await;
        let places = places(&report);
        match place {
            None => assert!(report.passed() == 1, "{name}: {report}"),
            Some(place) => {
                assert!(places.iter().any(|found| found.starts_with(place)), "{name}: {places:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_breaks_its_schema_is_found_whatever_the_fixture_allows() {
    let target = Target::service(|_, _| {
        Ok::<_, Error>(service_fn(async |request: http::Request<_>| {
            let _: http::Request<contract::ClientBody> = request;
            let body = json!({"success": true, "data": {"id": "one"}}).to_string();
            let response = Response::builder()
                .header("content-type", "application/json")
                .body(Full::from(body));
            Ok::<_, BoxError>(response.unwrap())
        }))
    });
    let fixture = json!({"description": "Anything.", "steps": [{
        "request": {"method": "POST", "path": "/sessions"},
        "expect": {"status": 200, "json": "$any"},
    }]});
    let report = contract::run(&[parse("create_session/x", &fixture)], &target).await;
    let text = report.to_string();
    assert!(text.contains("what schemas/create_session.reply.json asks for"), "{text}");
}
