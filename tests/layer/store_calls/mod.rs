//! How often each operation asks the store, and when.
//!
//! A store may be a network away: each call is a wait, and each of those before the upstream is asked,
//! or before a first run's `thread.created` is shown, is one that the user sees.

mod counting;

use std::collections::{BTreeSet, VecDeque};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use chatkit_rest::host::{ChatKitRest, ChatKitRestLayer, HostLimits};
use chatkit_rest::operation::Name;
use chatkit_rest::protocol::RequestType;
use chatkit_rest::surface::Surface;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tower::{Service, ServiceExt as _};

use self::counting::{Counting, Journal};
use crate::support::{PREFIX, of_ada};

/// A body whose frames come one by one.
#[derive(Debug)]
struct Frames(VecDeque<Bytes>);

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|data| Ok(Frame::data(data))))
    }
}

/// A ChatKit server that gives each thread and attachment its own id.
#[derive(Clone, Debug)]
struct ChatKit {
    journal: Journal,
    made: Arc<std::sync::atomic::AtomicU32>,
    asked: Asked,
}

/// The types of the requests that a server was sent.
#[derive(Clone, Debug, Default)]
struct Asked(Arc<Mutex<Vec<&'static str>>>);

impl ChatKit {
    fn answer(&self, request: &Value) -> Response<Frames> {
        let number = self.made.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let params = &request["params"];
        let kind = RequestType::parse(request["type"].as_str().unwrap()).unwrap();
        self.asked.0.lock().unwrap().push(kind.as_str());
        let at = "2026-11-21T03:00:00";
        let item = |id: &str, kind: &str| {
            json!({ "type": "thread.item.done", "item": {
                "id": id, "thread_id": params["thread_id"], "created_at": at, "type": kind,
                "content": [],
            }})
        };
        let (content_type, frames) = if kind.is_streaming() {
            let mut events =
                vec![item("msg_u", "user_message"), item("msg_a", "assistant_message")];
            if kind == RequestType::ThreadsCreate {
                let thread = json!({ "id": format!("thr_{number}"), "created_at": at });
                events.insert(0, json!({ "type": "thread.created", "thread": thread }));
            }
            let frames = events.iter().map(|event| format!("data: {event}\n\n")).collect();
            ("text/event-stream", frames)
        } else {
            let id = params["thread_id"].as_str().map(str::to_owned);
            let answer = json!({
                "id": id.unwrap_or_else(|| format!("atc_{number}")), "created_at": at, "text": "",
                "data": [], "has_more": false, "items": { "data": [], "has_more": false },
            });
            ("application/json", vec![answer.to_string()])
        };
        let body = Frames(frames.into_iter().map(Bytes::from).collect());
        Response::builder().header("content-type", content_type).body(body).unwrap()
    }
}

impl Service<Request<Full<Bytes>>> for ChatKit {
    type Response = Response<Frames>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Frames>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        self.journal.begin(1);
        let this = self.clone();
        Box::pin(async move {
            let body = request.into_body().collect().await?.to_bytes();
            Ok(this.answer(&serde_json::from_slice(&body).unwrap()))
        })
    }
}

/// The rooms, and what they ask of the store.
struct Scene {
    layer: ChatKitRestLayer<Full<Bytes>>,
    service: ChatKitRest<ChatKit, Full<Bytes>>,
    journal: Journal,
    /// What was asked for.
    seen: BTreeSet<&'static str>,
}

impl Scene {
    fn new() -> Self {
        let store = Arc::new(Counting::default());
        let journal = store.journal.clone();
        let layer = ChatKitRestLayer::new(PREFIX, store).unwrap().with_chat("/api").unwrap();
        let upstream =
            ChatKit { journal: journal.clone(), made: Arc::default(), asked: Asked::default() };
        let service = layer.service(upstream);
        Self { layer, service, journal, seen: BTreeSet::new() }
    }

    /// Has ada ask for an operation, and expects these calls before the upstream is asked, before she
    /// has the first of the answer, and after that.
    #[track_caller]
    fn expect(
        &mut self,
        operation: Name,
        path: &str,
        body: Value,
        calls: [&'static str; 3],
    ) -> impl Future<Output = Value> {
        let at = std::panic::Location::caller();
        self.seen.insert(operation.as_str());
        async move {
            let (value, seen) = self.ask(operation, path, body).await;
            assert_eq!(seen, calls, "{operation}, at {at}");
            value
        }
    }

    async fn ask(&self, operation: Name, path: &str, body: Value) -> (Value, [String; 3]) {
        let prefix = if operation.surface() == Surface::Chat { "/api" } else { PREFIX };
        let mut request =
            Request::builder().method(operation.method()).uri(format!("{prefix}{path}"));
        let body = if body.is_null() {
            Full::default()
        } else {
            request = request.header("content-type", "application/json");
            Full::from(body.to_string())
        };
        let request = of_ada(request.body(body).unwrap());
        self.journal.take();
        let response = self.service.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let mut body = response.into_body();
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            self.journal.begin(2);
            bytes.extend(frame.map_err(|_| "cut").unwrap().into_data().unwrap());
        }
        drop(body);
        self.layer.finished().await;
        assert_eq!(status, 200, "{operation}: {}", String::from_utf8_lossy(&bytes));
        (serde_json::from_slice(&bytes).unwrap_or_default(), self.journal.take())
    }
}

/// Gives what a path names.
fn id(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no id")).to_owned()
}

fn attachment() -> Value {
    json!({ "name": "plan.txt", "size": 3, "mime_type": "text/plain" })
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table, with a row for each operation")]
async fn each_operation_asks_the_store_as_often_as_it_must() {
    use Name as O;
    let nothing = || Value::Null;
    let mut scene = Scene::new();

    // A session without a thread.
    let session = scene.expect(O::CreateSession, "/sessions", nothing(), ["create", "", ""]).await;
    let session = id(&session["data"]["id"]);
    let of_session = format!("/sessions/{session}");
    let threads = format!("{of_session}/threads");
    let thread = format!("{threads}/{session}");
    let runs = format!("{thread}/runs");
    scene.expect(O::GetSession, &of_session, nothing(), ["get", "", ""]).await;
    scene.expect(O::GetThread, &thread, nothing(), ["get", "", ""]).await;
    scene.expect(O::ListItems, &format!("{thread}/items"), nothing(), ["get", "", ""]).await;
    scene.expect(O::CreateThread, &threads, nothing(), ["get", "", ""]).await;
    scene.expect(O::ListThreads, &threads, nothing(), ["get", "", ""]).await;
    scene.expect(O::ListSessions, "/sessions", nothing(), ["list", "", ""]).await;
    scene
        .expect(
            O::UpdateSession,
            &of_session,
            json!({ "title": "Plan A" }),
            ["get set_title", "", ""],
        )
        .await;

    // Its runs.
    let hello = || json!({ "message": "hi" });
    scene.expect(O::CreateRun, &runs, hello(), ["begin_run", "bind", "settle"]).await;
    scene.expect(O::CreateRun, &runs, hello(), ["begin_run", "", "settle"]).await;
    scene.expect(O::CreateRun, &runs, hello(), ["begin_run", "", "settle"]).await;
    let whole = json!({ "message": "hi", "stream": false });
    scene.expect(O::CreateRun, &runs, whole, ["begin_run", "settle", ""]).await;
    let mut files = Vec::new();
    for _ in 0..2 {
        let file = scene
            .expect(O::CreateAttachment, "/attachments", attachment(), ["", "own_attachment", ""])
            .await;
        files.push(id(&file["data"]["id"]));
    }
    let text = json!([{ "type": "input_text", "text": "hi" }]);
    let with_files = json!({ "role": "user", "content": text, "attachments": files });
    let with_files = json!({ "message": with_files });
    scene
        .expect(O::CreateRun, &runs, with_files, ["attachment_owners begin_run", "", "settle"])
        .await;
    let item = format!("{thread}/items/msg_a");
    scene
        .expect(O::RetryItem, &format!("{item}/retry"), nothing(), ["begin_run", "", "settle"])
        .await;
    scene
        .expect(
            O::SubmitToolOutput,
            &format!("{thread}/tool_outputs"),
            json!({ "result": 1 }),
            ["begin_run", "", "settle"],
        )
        .await;
    scene
        .expect(
            O::SubmitStructuredInput,
            &format!("{item}/structured_input"),
            json!({ "status": "skipped" }),
            ["begin_run", "", "settle"],
        )
        .await;
    let action = || json!({ "action": { "type": "rename" } });
    let actions = format!("{thread}/actions");
    scene.expect(O::RunAction, &actions, action(), ["begin_run", "", "settle"]).await;
    scene.expect(O::RunAction, &format!("{actions}?sync=true"), action(), ["get", "", ""]).await;

    // What there is to read, and the rest.
    scene.expect(O::GetSession, &of_session, nothing(), ["get", "", ""]).await;
    scene.expect(O::GetThread, &thread, nothing(), ["get", "", ""]).await;
    scene.expect(O::ListItems, &format!("{thread}/items"), nothing(), ["get", "", ""]).await;
    let feedback = json!({ "item_ids": ["msg_a"], "kind": "positive" });
    scene.expect(O::CreateFeedback, &format!("{thread}/feedback"), feedback, ["get", "", ""]).await;
    let audio = json!({ "audio_base64": "T2dnUw==", "mime_type": "audio/ogg" });
    scene.expect(O::CreateTranscription, "/transcriptions", audio, ["", "", ""]).await;

    // One-shot chat.
    let conversation = scene.expect(O::Chat, "/chat", hello(), ["create", "bind settle", ""]).await;
    let conversation = id(&conversation["conversation_id"]);
    let again = || json!({ "message": "hi", "conversation_id": conversation });
    scene.expect(O::Chat, "/chat", again(), ["begin_run", "settle", ""]).await;
    scene.expect(O::ChatForUser, "/ada/chat", again(), ["begin_run", "settle", ""]).await;
    for (list, get, path) in [
        (O::ListConversations, O::GetConversation, "/conversations"),
        (O::ListConversationsForUser, O::GetConversationForUser, "/ada/conversations"),
    ] {
        scene.expect(list, path, nothing(), ["list", "", ""]).await;
        scene.expect(get, &format!("{path}/{conversation}"), nothing(), ["get", "", ""]).await;
    }

    // ChatKit requests.
    let input = json!({ "content": text, "attachments": [], "inference_options": {} });
    let mut with_files = input.clone();
    with_files["attachments"] = json!(files);
    let thread = scene.expect(O::GetSession, &of_session, nothing(), ["get", "", ""]).await;
    let thread = id(&thread["data"]["thread_id"]);
    let file = scene
        .expect(O::CreateAttachment, "/attachments", attachment(), ["", "own_attachment", ""])
        .await;
    let file = &file["data"]["id"];
    for (kind, params, calls) in [
        ("attachments.create", attachment(), ["", "own_attachment", ""]),
        (
            "attachments.delete",
            json!({ "attachment_id": file }),
            ["attachment_owners", "disown_attachment", ""],
        ),
        (
            "input.transcribe",
            json!({ "audio_base64": "T2dnUw==", "mime_type": "audio/ogg" }),
            ["", "", ""],
        ),
        ("threads.create", json!({ "input": input }), ["create", "bind", "settle"]),
        (
            "threads.add_user_message",
            json!({ "thread_id": thread, "input": input }),
            ["begin_run", "", "settle"],
        ),
        (
            "threads.add_user_message",
            json!({ "thread_id": thread, "input": with_files }),
            ["attachment_owners begin_run", "", "settle"],
        ),
        (
            "threads.add_client_tool_output",
            json!({ "thread_id": thread, "result": 1 }),
            ["begin_run", "", "settle"],
        ),
        (
            "threads.add_structured_input",
            json!({ "thread_id": thread, "item_id": "msg_a", "input": { "status": "skipped" } }),
            ["begin_run", "", "settle"],
        ),
        (
            "threads.retry_after_item",
            json!({ "thread_id": thread, "item_id": "msg_a" }),
            ["begin_run", "", "settle"],
        ),
        (
            "threads.custom_action",
            json!({ "thread_id": thread, "action": { "type": "rename" } }),
            ["begin_run", "", "settle"],
        ),
        (
            "threads.sync_custom_action",
            json!({ "thread_id": thread, "action": { "type": "rename" } }),
            ["ownership", "", ""],
        ),
        (
            "items.feedback",
            json!({ "thread_id": thread, "item_ids": ["msg_a"], "kind": "positive" }),
            ["ownership", "", ""],
        ),
        ("items.list", json!({ "thread_id": thread }), ["ownership", "", ""]),
        ("threads.get_by_id", json!({ "thread_id": thread }), ["ownership", "", ""]),
        ("threads.list", json!({}), ["threads", "", ""]),
        (
            "threads.update",
            json!({ "thread_id": thread, "title": "Plan B" }),
            ["get", "set_title", ""],
        ),
        ("threads.delete", json!({ "thread_id": thread }), ["get", "delete", ""]),
    ] {
        scene.seen.insert(kind);
        let body = json!({ "type": kind, "params": params });
        scene.expect(O::Passthrough, "", body, calls).await;
    }

    // What is deleted, with a thread and without.
    scene
        .expect(
            O::DeleteAttachment,
            &format!("/attachments/{}", files[0]),
            nothing(),
            ["attachment_owners", "disown_attachment", ""],
        )
        .await;
    scene
        .expect(
            O::DeleteSession,
            &format!("/sessions/{conversation}"),
            nothing(),
            ["get", "delete", ""],
        )
        .await;
    let session = scene.expect(O::CreateSession, "/sessions", nothing(), ["create", "", ""]).await;
    let session = id(&session["data"]["id"]);
    scene
        .expect(
            O::DeleteSession,
            &format!("/sessions/{session}"),
            nothing(),
            ["get delete", "", ""],
        )
        .await;

    let served = O::ALL.iter().filter(|operation| operation.surface() != Surface::OpenAi);
    let mut all: BTreeSet<&str> = served.map(|operation| operation.as_str()).collect();
    all.extend(RequestType::ALL.iter().map(|kind| kind.as_str()));
    assert_eq!(scene.seen, all);
}

/// What a store doesn't keep is refused, and nothing of it stays upstream.
#[tokio::test]
async fn what_a_store_does_not_keep_is_refused_and_left_nowhere() {
    let store = Arc::new(counting::Half::default());
    let asked = Asked::default();
    let upstream =
        ChatKit { journal: store.journal.clone(), made: Arc::default(), asked: asked.clone() };
    let layer = ChatKitRestLayer::new(PREFIX, store).unwrap();
    let service: ChatKitRest<ChatKit, Full<Bytes>> = layer.service(upstream);
    let chatkit = |kind: &str, params: Value| json!({ "type": kind, "params": params });
    for (path, body, of_upstream) in [
        ("/attachments", attachment(), &["attachments.create", "attachments.delete"][..]),
        (
            "",
            chatkit("attachments.create", attachment()),
            &["attachments.create", "attachments.delete"],
        ),
        ("", chatkit("threads.list", json!({})), &[]),
    ] {
        let request = Request::post(format!("{PREFIX}{path}"))
            .header("content-type", "application/json")
            .body(Full::from(body.to_string()));
        let response = service.clone().oneshot(of_ada(request.unwrap())).await.unwrap();
        assert_eq!(response.status(), 404, "{body}");
        let text = response.into_body().collect().await.map_err(|_| "cut").unwrap().to_bytes();
        let text: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(text["error"]["message"], "This gateway keeps nothing of this kind.", "{text}");
        assert_eq!(std::mem::take(&mut *asked.0.lock().unwrap()), of_upstream, "{body}");
    }
    let sessions = Request::post(format!("{PREFIX}/sessions")).body(Full::default()).unwrap();
    assert_eq!(service.oneshot(of_ada(sessions)).await.unwrap().status(), 200);
}

/// With limits that gateways share, a tenth of the limit is asked for at once, and the next before it
/// is used up, so that nobody waits for it.
#[tokio::test(start_paused = true)]
async fn of_shared_limits_a_slice_is_asked_for_once() {
    let store = Arc::new(Counting::default());
    let journal = store.journal.clone();
    let limits = HostLimits::none().with_requests_per_minute(100);
    let layer = ChatKitRestLayer::new(PREFIX, Arc::<Counting>::clone(&store)).unwrap();
    let layer = layer.with_limits(limits).with_shared_limits(store);
    let upstream =
        ChatKit { journal: journal.clone(), made: Arc::default(), asked: Asked::default() };
    let service = layer.service(upstream);
    let mut seen = Vec::new();
    for _ in 0..50 {
        let request = Request::get(format!("{PREFIX}/sessions")).body(Full::default()).unwrap();
        let response = service.clone().oneshot(of_ada(request)).await.unwrap();
        assert_eq!(response.status(), 200);
        // What goes on by itself has its turn.
        tokio::task::yield_now().await;
        seen.push(journal.take()[0].clone());
    }
    assert_eq!(seen.iter().filter(|calls| calls.contains("take_allowance")).count(), 6);
    assert_eq!(seen[0], "take_allowance list");
    let others = seen.iter().skip(1).filter(|calls| *calls != "list");
    assert!(others.clone().all(|calls| calls == "list take_allowance"), "{seen:?}");
    assert_eq!(others.count(), 5);
}
