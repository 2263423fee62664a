//! What a user of the gateway does, over and over.

use serde_json::{Value, json};

use super::{Client, End, Exchange, Reply};

pub(crate) const PREFIX: &str = "/api/v1/chatkit";

/// One user's client.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) client: Client,
}

/// A session and the path of its thread.
#[derive(Clone, Debug)]
pub(crate) struct Conversation {
    pub(crate) session: String,
    /// `/sessions/…/threads/…`, to be put after the prefix.
    pub(crate) thread: String,
}

impl Caller {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.client.call("GET", &format!("{PREFIX}{path}"))
    }

    pub(crate) fn delete(&self, path: &str) -> Reply {
        self.client.call("DELETE", &format!("{PREFIX}{path}"))
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Reply {
        self.client.json("POST", &format!("{PREFIX}{path}"), body)
    }

    pub(crate) fn patch(&self, path: &str, body: &Value) -> Reply {
        self.client.json("PATCH", &format!("{PREFIX}{path}"), body)
    }

    /// Gives a new session with a thread.
    #[track_caller]
    pub(crate) fn conversation(&self) -> Conversation {
        let session = self.client.call("POST", &format!("{PREFIX}/sessions")).data();
        let session = session["id"].as_str().unwrap().to_owned();
        let thread = self.post(&format!("/sessions/{session}/threads"), &json!({})).data();
        let thread = thread["id"].as_str().unwrap();
        Conversation { thread: format!("/sessions/{session}/threads/{thread}"), session }
    }

    /// Sends a message whose answer is streamed; returns with the head of the response.
    pub(crate) fn say(&self, conversation: &Conversation, text: &str) -> Exchange {
        let content = json!([{ "type": "input_text", "text": text }]);
        self.stream(
            &format!("{}/runs", conversation.thread),
            &json!({ "message": { "role": "user", "content": content }, "stream": true }),
        )
    }

    /// Sends a request whose answer is streamed.
    pub(crate) fn stream(&self, path: &str, body: &Value) -> Exchange {
        self.client
            .clone()
            .with("content-type", "application/json")
            .with("accept", "text/event-stream")
            .send("POST", &format!("{PREFIX}{path}"), Some(body.to_string().as_bytes()))
    }

    /// Sends a message and gives its whole answer, which must be a stream that ends well.
    #[track_caller]
    pub(crate) fn said(&self, conversation: &Conversation, text: &str) -> Vec<Value> {
        let reply = self.say(conversation, text).finish();
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.end, End::Clean);
        super::events(&reply.body)
    }

    /// Sends a message that is answered in JSON.
    pub(crate) fn ask(&self, conversation: &Conversation, text: &str) -> Reply {
        let runs = format!("{}/runs", conversation.thread);
        self.post(&runs, &json!({ "message": text, "stream": false }))
    }

    /// Sends a ChatKit request to the pass-through.
    pub(crate) fn rpc(&self, kind: &str, params: &Value) -> Reply {
        self.post("", &json!({ "type": kind, "params": params }))
    }
}

/// Gives the `params` of a `threads.create`; with a `thread_id` those of
/// `threads.add_user_message`.
pub(crate) fn input(text: &str, attachments: &[&str]) -> Value {
    json!({ "input": {
        "content": [{ "type": "input_text", "text": text }],
        "attachments": attachments,
        "inference_options": {},
    }})
}

/// Gives the last item that a stream reported as done.
#[track_caller]
pub(crate) fn last_item(events: &[Value]) -> Value {
    let done = events.iter().rev().find(|event| event["type"] == "thread.item.done");
    done.expect("an item that is done")["item"].clone()
}
