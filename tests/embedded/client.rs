//! A client that knows how the stream is framed.

use bytes::Bytes;
use chatkit_rest::embedded::{Embedded, EmbeddedBody, Json};
use chatkit_rest::forward::{ForwardError, ForwardErrorKind};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tower_service::Service;

pub(crate) fn server() -> Embedded {
    Embedded::in_memory().unwrap()
}

pub(crate) fn json(text: &str) -> Json {
    Json::parse(text).unwrap()
}

/// Gives a JSON string.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

/// What came of a request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) frames: Vec<Bytes>,
    pub(crate) cut: bool,
}

impl Answer {
    pub(crate) fn events(&self) -> Vec<Json> {
        assert_eq!((self.status, &*self.content_type), (200, "text/event-stream; charset=utf-8"));
        self.frames.iter().map(event).collect()
    }

    pub(crate) fn types(&self) -> Vec<String> {
        self.events().iter().map(kind).collect()
    }

    pub(crate) fn json(&self) -> Json {
        assert_eq!((self.status, &*self.content_type), (200, "application/json"), "{self:?}");
        json(std::str::from_utf8(&self.frames.concat()).unwrap())
    }

    pub(crate) fn is_bare_500(&self) -> bool {
        self.status == 500
            && self.content_type == "text/plain; charset=utf-8"
            && self.frames.concat() == b"Internal Server Error"
    }

    /// Tells whether it is cut without a single event.
    pub(crate) fn is_cut_at_once(&self) -> bool {
        self.events().is_empty() && self.cut
    }

    /// Gives the item of the last `thread.item.done` or `thread.item.replaced`.
    pub(crate) fn last_item(&self) -> Json {
        self.events().iter().rev().find_map(|event| event.get("item").cloned()).unwrap()
    }

    pub(crate) fn thread_id(&self) -> String {
        string(self.events()[0].get("thread").unwrap(), "id")
    }
}

/// Gives the event of a frame, which must be exactly one `data:` line.
pub(crate) fn event(frame: &Bytes) -> Json {
    let text = std::str::from_utf8(frame).unwrap();
    let data = text.strip_prefix("data: ").unwrap().strip_suffix("\n\n").unwrap();
    assert!(!data.contains(['\n', '\r']), "{data:?}");
    let event = json(data);
    assert_eq!(event.to_string(), data, "not compact, or not as Python writes it");
    event
}

pub(crate) fn string(json: &Json, key: &str) -> String {
    json.get(key).and_then(Json::as_str).unwrap_or_else(|| panic!("{key} of {json}")).to_owned()
}

/// Gives an event's type, or that of its update.
pub(crate) fn kind(event: &Json) -> String {
    string(event.get("update").unwrap_or(event), "type")
}

pub(crate) fn array(json: &Json) -> &[Json] {
    match json {
        Json::Array(values) => values,
        other => panic!("no array: {other}"),
    }
}

/// Sends a request and does not read the answer's body.
pub(crate) async fn send(server: &Embedded, body: &str) -> Response<EmbeddedBody> {
    let body = Full::new(Bytes::copy_from_slice(body.as_bytes()));
    server.clone().call(Request::post("/chatkit").body(body).unwrap()).await.unwrap()
}

/// Gives the next event of a stream.
pub(crate) async fn next(body: &mut EmbeddedBody) -> Json {
    event(&body.frame().await.unwrap().unwrap().into_data().unwrap())
}

/// Sends a request and reads the answer to its end.
pub(crate) async fn post(server: &Embedded, body: &str) -> Answer {
    let (head, mut body) = send(server, body).await.into_parts();
    let (mut frames, mut cut) = (Vec::new(), false);
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => frames.push(frame.into_data().unwrap()),
            Err(error) => {
                let error: ForwardError = error;
                assert_eq!(error.kind(), ForwardErrorKind::BodyCut);
                cut = true;
            }
        }
    }
    let content_type = head.headers["content-type"].to_str().unwrap().to_owned();
    if let Some(length) = head.headers.get("content-length") {
        let length: usize = length.to_str().unwrap().parse().unwrap();
        assert_eq!(length, frames.concat().len());
    }
    Answer { status: head.status.as_u16(), content_type, frames, cut }
}

pub(crate) fn create_body(text: &str) -> String {
    format!(
        r#"{{"type":"threads.create","params":{{"input":{{"content":[{{"type":"input_text","text":{}}}],"quoted_text":"","attachments":[],"inference_options":{{}}}}}}}}"#,
        quoted(text)
    )
}

pub(crate) fn add_body(thread_id: &str, text: &str) -> String {
    format!(
        r#"{{"type":"threads.add_user_message","params":{{"input":{{"content":[{{"type":"input_text","text":{}}}],"attachments":[],"inference_options":{{}}}},"thread_id":{}}}}}"#,
        quoted(text),
        quoted(thread_id)
    )
}

pub(crate) async fn create(server: &Embedded, text: &str) -> Answer {
    post(server, &create_body(text)).await
}

pub(crate) async fn add(server: &Embedded, thread_id: &str, text: &str) -> Answer {
    post(server, &add_body(thread_id, text)).await
}

/// Sends a request of that type with these parameters.
pub(crate) async fn op(server: &Embedded, kind: &str, params: &str) -> Answer {
    post(server, &format!(r#"{{"type":"{kind}","params":{params}}}"#)).await
}

/// Gives all items that clients may see, oldest first.
pub(crate) async fn items(server: &Embedded, thread_id: &str) -> Vec<Json> {
    let params = format!(r#"{{"thread_id":"{thread_id}","limit":9999,"order":"asc"}}"#);
    let page = op(server, "items.list", &params).await.json();
    array(page.get("data").unwrap()).to_vec()
}

/// Gives the text of a message's only part.
pub(crate) fn text_of(item: &Json) -> String {
    string(&array(item.get("content").unwrap())[0], "text")
}
