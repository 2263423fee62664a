//! The ten requests that are answered with JSON.

use bytes::Bytes;
use serde::Serialize;

use super::id::new_id;
use super::item::{Content, Item};
use super::request::{PageRequest, ReplyRequest};
use super::rows;
use super::run::CutReason;
use super::service::EmbeddedServer;
use super::thread::{Attachment, Thread};

#[derive(Serialize)]
struct EmptyReply {}

#[derive(Serialize)]
struct Transcription {
    text: String,
}

#[derive(Serialize)]
struct ActedAtOnce {
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_item: Option<Item>,
}

/// Gives the body of the 200, or why it is a 500.
pub(super) async fn reply(
    server: &EmbeddedServer,
    request: ReplyRequest,
) -> Result<Bytes, CutReason> {
    let store = &server.store;
    match request {
        ReplyRequest::AttachmentsCreate { name, mime_type } => {
            let id = new_id("atc");
            let attachment = Attachment { id, name, mime_type, thread_id: None };
            let json = attachment.to_json();
            store.write(move |db| rows::save_attachment(db, &attachment)).await?;
            body(&json)
        }
        ReplyRequest::AttachmentsDelete { attachment_id } => {
            store.write(move |db| rows::delete_attachment(db, &attachment_id)).await?;
            body(&EmptyReply {})
        }
        ReplyRequest::InputTranscribe { audio_base64, mime_type } => {
            let bytes =
                lenient_base64_len(&audio_base64).ok_or(CutReason::Impossible("no base64"))?;
            body(&Transcription { text: format!("({bytes} bytes of {mime_type})") })
        }
        // The SDK's own handler checks and keeps nothing.
        ReplyRequest::ItemsFeedback => body(&EmptyReply {}),
        ReplyRequest::ItemsList { thread_id, page } => {
            body(&store.read(move |db| rows::items(db, &thread_id, &page)).await?)
        }
        ReplyRequest::ThreadsDelete { thread_id } => {
            store.write(move |db| rows::delete_thread(db, &thread_id)).await?;
            body(&EmptyReply {})
        }
        ReplyRequest::ThreadsGetById { thread_id } => {
            let found = store
                .read(move |db| {
                    let Some(thread) = rows::thread(db, &thread_id)? else { return Ok(None) };
                    let items = rows::items(db, &thread_id, &PageRequest::oldest())?;
                    Ok(Some(thread.with_items(items)))
                })
                .await?;
            body(&found.ok_or(CutReason::Impossible("no such thread"))?)
        }
        ReplyRequest::ThreadsList { page } => {
            let threads = store.read(move |db| rows::threads(db, &page)).await?;
            body(&threads.filter_map(|thread| Some(thread.without_items())))
        }
        ReplyRequest::ThreadsSyncCustomAction { thread_id, item_id, action } => {
            let (known, sender) = store
                .read(move |db| {
                    let known = rows::thread(db, &thread_id)?.is_some();
                    let id = item_id.as_deref();
                    Ok((known, id.map(|id| rows::item(db, &thread_id, id)).transpose()?))
                })
                .await?;
            let sender = match (known, sender) {
                (true, None) => None,
                (true, Some(Some(item))) if matches!(item.content, Content::Widget(_)) => {
                    Some(item)
                }
                _ => return Err(CutReason::Impossible("no such thread or widget")),
            };
            let updated_item = server
                .responder
                .act_at_once(&action, sender)
                .ok_or(CutReason::Impossible("actions are not implemented"))?;
            if let Some(item) = updated_item.clone() {
                store.write(move |db| rows::save_item(db, &item)).await?;
            }
            body(&ActedAtOnce { updated_item })
        }
        ReplyRequest::ThreadsUpdate { thread_id, title } => {
            let thread: Option<Thread> =
                store.write(move |db| rows::retitle_thread(db, &thread_id, title)).await?;
            body(&thread.ok_or(CutReason::Impossible("no such thread"))?.without_items())
        }
    }
}

fn body(value: &impl Serialize) -> Result<Bytes, CutReason> {
    Ok(serde_json::to_vec(value)?.into())
}

/// Tells how many bytes Python's `base64.b64decode` makes of a text: it skips whatever is not of
/// the alphabet and stops at the first complete padding. `None` where it raises.
fn lenient_base64_len(text: &str) -> Option<usize> {
    let (mut bytes, mut place, mut pads) = (0, 0, 0);
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' => {
                bytes += usize::from(place > 0);
                place = (place + 1) % 4;
                pads = 0;
            }
            b'=' if place >= 2 => {
                pads += 1;
                if place + pads >= 4 {
                    return Some(bytes);
                }
            }
            _ => {}
        }
    }
    (place == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_counted_as_python_decodes_it() {
        for (text, bytes) in [
            ("", Some(0)),
            ("T2dnUw==", Some(4)),
            ("T2d*g*Uw==", Some(4)),
            ("T2dn", Some(3)),
            ("T2d=", Some(2)),
            ("T2d=T2dn", Some(2)),
            ("abc", None),
            ("a", None),
            ("ab=", None),
            ("====", Some(0)),
        ] {
            assert_eq!(lenient_base64_len(text), bytes, "{text}");
        }
    }
}
