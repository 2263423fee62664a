//! A responder that has a language model answer: any server with OpenAI's chat-completions API.
//!
//! Needs the feature `openai`.
//!
//! That is OpenAI itself, and what runs models at home: Ollama, llama.cpp, vLLM. Each turn is one
//! `POST {base}/chat/completions` with `"stream": true`, over [`HttpUpstream`] with its time-outs
//! and its TLS, and each piece of text is a delta to the client as soon as it is there.
//!
//! ```
//! use chatkit_rest::forward::HttpUpstream;
//! use chatkit_rest::embedded::Embedded;
//! use chatkit_rest::embedded::openai::{OpenAiResponder, completions_url};
//! use std::time::Duration;
//!
//! let api = HttpUpstream::builder(completions_url("http://127.0.0.1:11434/v1")?)
//!     .first_byte_timeout(Duration::from_secs(60))
//!     .build()?;
//! let responder = OpenAiResponder::new(api, "llama3.2")
//!     .with_api_key("not-needed-there")?
//!     .with_system_prompt("You are brief.");
//! let server = Embedded::in_memory()?.with_responder(responder);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What the model is told
//!
//! The system prompt, if there is one, and of the thread's newest 1,000 items the last 50 messages,
//! oldest first, from the user's first of them to the user's last. The roles alternate, as some
//! APIs and chat templates want it: messages of one role with nothing between them, such as a
//! question that got no answer and the next, are told as one, a blank line apart. One that was refused
//! is told no more once there is another: by the API, with a word for that, by a content filter, even
//! in the middle of an answer, or since its answer was too long to be read. What the user
//! quoted stands before the text with `>` at each line; a tag is its text; of attachments without
//! a text the names are told. Everything else in a thread is left out: attachments, tool calls and
//! their outputs, widgets, tasks, hidden context, messages without a word. The model is the one
//! that was set: what the user chose (`inference_options`) is not looked at.
//!
//! # What becomes of its answer
//!
//! One assistant message, of the `content` and `refusal` deltas of the first choice. Of a content
//! in parts the text is the answer; thinking and reasoning are left out, where the API tells them
//! apart (`<think>` in a text is text). A server that knows no streams may answer in one JSON
//! object.
//!
//! The answer is complete at `[DONE]`, or when the stream ends after a `finish_reason`. What comes
//! after one is read: relays have `stop`, or another word, in every chunk or in every one but the
//! first. So a reason is the model's last word for certain if it came without a text, and none
//! before it stood beside one. A server that neither ends the stream nor says `[DONE]` is believed
//! 2 seconds after that, whatever else it sends. Any other reason is believed after 10 seconds of
//! silence; signs of life prolong them up to the idle time-out. It is not where the stream ended
//! within an event, or had something else in it, such as a proxy's page.
//!
//! Without a reason the answer was cut, and so it was where chunks came as bare JSON. One JSON
//! object with a `message` is whole as it is, whatever its reason, `null` too: there are servers
//! that never have one. An answer that was cut short by the model's own limit (`length`) is kept as
//! it is.
//!
//! Members that are not what they should be cost nothing else in their chunk. One that may be text
//! and can't be read ends the answer.
//!
//! # How it fails
//!
//! As a ChatKit server's own failures do: with a `stream.error` event in a stream whose status is
//! 200, and nothing of the message is stored. If nothing was said, the event comes before any other
//! output, and the gateway makes 502 of it (`UPSTREAM_ERROR`), a time-out of the API included: which
//! status the API had shows in the log alone. The event's `allow_retry`, and with it
//! `details.allow_retry` of the 502, says whether trying again may help. It may after:
//!
//! - no connection, a time-out, an answer that breaks off or that is neither events nor JSON,
//! - status 408, 409, 425, 429 and 5xx,
//! - a failure in the answer (`error` in whichever form, or a finish reason that means one) with
//!   such a code, or with none that says more,
//! - an answer without text.
//!
//! It may not after any other status or code (401 and 403: the key; 404: the model or the URL; 400:
//! what was said is too long, or not understood), whatever the status where the API's word is that
//! the conversation is too long, the key wrong, the model unknown or the money spent; after an
//! answer that a content filter stopped, or one with more than 1 MiB of text. The log has the
//! reason: the kind, the status, the API's own word for it (`code` or `type`) and the address that
//! was asked. It never has the key, a query, or what anybody said.
//!
//! # Asking again
//!
//! A question is asked up to three times as long as nothing of an answer has come: after the
//! statuses and codes above with which trying again may help, and where no connection was made or
//! it broke before the answer's head. `x-should-retry` has the last word; `retry-after-ms` and
//! `retry-after` (seconds, or a date) are waited for, and a random pause of up to half a second, the
//! second time up to one, is made without them. All that stays within the API's
//! [first-byte time-out](crate::forward::HttpUpstreamBuilder::first_byte_timeout), from the first
//! request on. As with the official clients, a connection that closes before the answer's head
//! counts as not asked, though the API may have read, and may bill, the question.
//!
//! Where the API will never have what it was told, since the conversation is too long or some of it
//! isn't allowed, it is told less, once and within the same time: no question before the newest
//! that got no answer of its own, and if it is the length, only the newer half of the text, beside
//! the newest question.
//!
//! When the client leaves, the connection to the API is closed at once. Actions are refused, as by
//! the SDK.
//!
//! [`HttpUpstream`]: crate::forward::HttpUpstream

mod chunk;
mod chunks;
mod events;
mod reading;
mod report;
mod request;
mod responder;
mod retry;
mod trouble;

pub use responder::{InvalidApiKey, OpenAiResponder, completions_url};
