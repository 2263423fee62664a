//! One answer as server-sent events.

use std::io;
use std::time::Duration;

use tokio::time::Instant;
use xxhash_rust::xxh3::Xxh3;

use crate::script::Script;

use super::wire::Connection;
use super::{CREATED_AT, DATE_AND_SERVER, Sent, Texts};

/// The events of one run, and what has been said of them so far.
pub struct Events {
    script: Script,
    texts: Texts,
    thread: String,
    user_message: String,
    message: String,
    created: bool,
    out: Vec<u8>,
    hash: Xxh3,
    length: u64,
    count: u64,
}

impl Events {
    pub fn new(
        script: Script,
        texts: Texts,
        thread: String,
        (user_message, message): (String, String),
        created: bool,
    ) -> Self {
        let out = Vec::with_capacity(if script.pace.is_zero() { 2 * FLUSH_AT } else { 1024 });
        let hash = Xxh3::new();
        Self {
            script,
            texts,
            thread,
            user_message,
            message,
            created,
            out,
            hash,
            length: 0,
            count: 0,
        }
    }

    /// Sends the whole answer. `sent` is told just before the last bytes leave, so that it is
    /// known when the client has seen the end.
    pub async fn send(
        mut self,
        connection: &mut Connection,
        sent: impl FnOnce(Sent),
    ) -> io::Result<()> {
        self.out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        self.out.extend_from_slice(DATE_AND_SERVER.as_bytes());
        self.out.extend_from_slice(
            b"content-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n",
        );
        self.preamble();
        self.opening();
        if self.script.pace.is_zero() {
            for index in 0..self.script.deltas {
                self.delta(index, None);
                if self.out.len() >= FLUSH_AT {
                    self.flush(connection).await?;
                }
            }
        } else {
            self.flush(connection).await?;
            // Streams that start together must not beat together.
            let phase = self.script.pace.mul_f64((self.script.id % 97) as f64 / 97.0);
            let mut next = Instant::now() + phase;
            for index in 0..self.script.deltas {
                tokio::time::sleep_until(next).await;
                next += self.script.pace;
                self.delta(index, Some(crate::clock_ns()));
                self.flush(connection).await?;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.closing();
        sent(Sent {
            id: self.script.id,
            hash: self.hash.digest(),
            length: self.length,
            events: self.count,
        });
        self.out.extend_from_slice(b"0\r\n\r\n");
        self.flush(connection).await
    }

    fn preamble(&mut self) {
        let Self { thread, user_message, script, .. } = self;
        let user = format!(
            r#"{{"type":"thread.item.done","item":{{"id":"{user_message}","thread_id":"{thread}","created_at":"{CREATED_AT}","type":"user_message","content":[{{"type":"input_text","text":"{script}"}}],"attachments":[],"inference_options":{{}}}}}}"#
        );
        if self.created {
            let created = format!(
                r#"{{"type":"thread.created","thread":{{"id":"{thread}","created_at":"{CREATED_AT}","status":{{"type":"active"}},"metadata":{{}},"items":{{"data":[],"has_more":false}}}}}}"#
            );
            self.event(&[created.as_bytes()]);
        }
        self.event(&[user.as_bytes()]);
        self.event(&[br#"{"type":"stream_options","stream_options":{"allow_cancel":true}}"#]);
    }

    fn opening(&mut self) {
        let Self { thread, message, .. } = self;
        let added = format!(
            r#"{{"type":"thread.item.added","item":{{"id":"{message}","thread_id":"{thread}","created_at":"{CREATED_AT}","type":"assistant_message","content":[]}}}}"#
        );
        let part = format!(
            r#"{{"type":"thread.item.updated","item_id":"{message}","update":{{"type":"assistant_message.content_part.added","content_index":0,"content":{{"type":"output_text","text":"","annotations":[]}}}}}}"#
        );
        self.event(&[added.as_bytes()]);
        self.event(&[part.as_bytes()]);
    }

    /// Writes a delta. A paced one has the time it was sent put in front, unless it is shorter than
    /// that.
    fn delta(&mut self, index: u32, now: Option<u64>) {
        let texts = std::rc::Rc::clone(&self.texts);
        let text = texts.get(index as usize % texts.len()).map_or("", String::as_str).as_bytes();
        let message = std::mem::take(&mut self.message);
        let stamp = now.filter(|_| text.len() >= STAMP_LENGTH).map(stamp);
        let stamp = stamp.as_deref().unwrap_or_default();
        self.event(&[
            br#"{"type":"thread.item.updated","item_id":""#,
            message.as_bytes(),
            br#"","update":{"type":"assistant_message.content_part.text_delta","content_index":0,"delta":""#,
            stamp.as_bytes(),
            text,
            br#""}}"#,
        ]);
        self.message = message;
    }

    fn closing(&mut self) {
        let mut text = String::new();
        for delta in self.texts.iter().cycle().take(self.script.deltas as usize) {
            if text.len() + delta.len() > FINAL_TEXT_MAX {
                break;
            }
            text.push_str(delta);
        }
        let Self { thread, message, .. } = self;
        let part = format!(r#"{{"type":"output_text","text":"{text}","annotations":[]}}"#);
        let part_done = format!(
            r#"{{"type":"thread.item.updated","item_id":"{message}","update":{{"type":"assistant_message.content_part.done","content_index":0,"content":{part}}}}}"#
        );
        let item_done = format!(
            r#"{{"type":"thread.item.done","item":{{"id":"{message}","thread_id":"{thread}","created_at":"{CREATED_AT}","type":"assistant_message","content":[{part}]}}}}"#
        );
        self.event(&[part_done.as_bytes()]);
        self.event(&[item_done.as_bytes()]);
    }

    /// Writes one event as one HTTP chunk.
    fn event(&mut self, json: &[&[u8]]) {
        let length = EVENT_START.len() + json.iter().map(|part| part.len()).sum::<usize>() + 2;
        hex(&mut self.out, length);
        let start = self.out.len();
        self.out.extend_from_slice(EVENT_START);
        for part in json {
            self.out.extend_from_slice(part);
        }
        self.out.extend_from_slice(b"\n\n");
        self.hash.update(self.out.get(start..).unwrap_or_default());
        self.out.extend_from_slice(b"\r\n");
        self.length += length as u64;
        self.count += 1;
    }

    async fn flush(&mut self, connection: &mut Connection) -> io::Result<()> {
        connection.write_all(&self.out).await?;
        self.out.clear();
        Ok(())
    }
}

/// Writes `@`, twenty digits of nanoseconds, `@`: found by the load with one search.
fn stamp(now: u64) -> String {
    format!("@{now:020}@")
}

/// Gives the time a stamp in `bytes` tells, and what comes after it.
pub fn find_stamp(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let at = memchr::memchr(b'@', bytes)?;
    let digits = bytes.get(at + 1..at + STAMP_LENGTH - 1)?;
    let rest = bytes.get(at + STAMP_LENGTH..)?;
    let now = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some((now, rest))
}

fn hex(out: &mut Vec<u8>, length: usize) {
    use std::io::Write as _;
    let _ = write!(out, "{length:x}\r\n");
}

const EVENT_START: &[u8] = b"data: ";
const STAMP_LENGTH: usize = 22;
/// A burst leaves in writes of about this many bytes.
const FLUSH_AT: usize = 16 * 1024;
/// The final text of longer streams is cut, so that the deltas are what is measured.
const FINAL_TEXT_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_found_again() {
        let text = format!("data: {{\"delta\":\"{}rest", stamp(42));
        assert_eq!(find_stamp(text.as_bytes()), Some((42, &b"rest"[..])));
        assert_eq!(find_stamp(b"no stamp"), None);
    }
}
