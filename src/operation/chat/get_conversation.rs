//! Shows a page of a conversation's messages, for which the upstream is asked once.
//!
//! Pages go from the newest to the oldest, and messages of a page from the oldest to the newest.
//! A page is as many of the upstream's items as are asked for, less the oldest that are part of a turn which begins
//! before them: what was done is shown with what was said of it, so a turn is not to be torn.

use http::Method;
use serde::Serialize;
use serde_json::value::RawValue;

use super::conversation::Summary;
use super::turns::{self, ChatMessage};
use crate::chatkit::threads::{self, UpstreamPage, Whereabouts};
use crate::chatkit::upstream::UpstreamFailure;
use crate::chatkit::{ChatKit, ChatKitBody, envelope};
use crate::operation::reply;
use crate::operation::{Exchange, Gives, Operation, Read, Reply, Row, Takes};
use crate::principal::Principal;
use crate::rejection::{Code, Rejection};
use crate::session::{Conversation, Desk, Needs};
use crate::surface::Surface;

/// The items of a page, unless it is said how many.
const DEFAULT_LIMIT: u64 = 50;

/// The most items of a page.
const MAX_LIMIT: u64 = 100;

pub(crate) struct GetConversation;

pub(crate) struct Call {
    conversation: Box<str>,
    limit: i64,
    after: Option<String>,
}

#[derive(Serialize)]
struct MessagesReply<'a> {
    #[serde(flatten)]
    conversation: Summary<'a>,
    messages: Vec<ChatMessage>,
    has_more: bool,
    next: Option<&'a str>,
}

impl Operation for GetConversation {
    const ROW: Row = Row {
        name: "get_conversation",
        surface: Surface::Chat,
        method: Method::GET,
        path: "/conversations/{conversation_id}",
        takes: Takes::Nothing,
        gives: Gives::Json,
        asks_upstream: true,
        may_be_foreign: true,
        refuses: &[Code::SessionNotFound, Code::ThreadNotFound],
        tag: "Chat",
        summary: "Read a conversation",
        description: "The first page has the newest messages, and `next` leads to older ones; within a page \
             the oldest comes first. A page is what is in up to `limit` of the chat server's items, \
             so it may have fewer messages, and none, though there are more.",
        links: &[],
    };

    type Call = Call;
    type Grant = Conversation;

    fn parse(read: &Read<'_>) -> Result<Call, Rejection> {
        let (limit, after) = read.page(DEFAULT_LIMIT, MAX_LIMIT)?;
        // It is 100 at most.
        let limit = i64::try_from(limit).unwrap_or_default();
        Ok(Call { conversation: read.conversation(), limit, after })
    }

    async fn admit(
        desk: &Desk,
        principal: &Principal,
        call: &Call,
    ) -> Result<Conversation, Rejection> {
        desk.open_conversation(principal, &call.conversation, call.after.as_deref()).await
    }

    async fn answer<S: ChatKit<R>, R: ChatKitBody>(
        mut exchange: Exchange<S>,
        conversation: Conversation,
        call: Call,
    ) -> Reply<R> {
        let Conversation { record, cursors, after, .. } = &conversation;
        let summary = Summary::from(&conversation);
        let Some(thread_id) = &record.thread_id else {
            let messages = Vec::new();
            return reply::json(&MessagesReply {
                conversation: summary,
                messages,
                has_more: false,
                next: None,
            });
        };
        let upstream = &mut exchange.upstream;
        let request = envelope::page(Some(thread_id), call.limit, false, after.as_deref());
        let answer = match upstream.json(request).await {
            Ok(answer) => answer,
            // Some servers fail on a cursor that they have forgotten.
            Err(failure) if after.is_some() && failure.is_bare_500() => {
                return Err(match upstream.whereabouts(thread_id).await {
                    Whereabouts::There => cursors.refusal(),
                    Whereabouts::Lost => threads::lost(),
                    Whereabouts::Unknown => failure.into(),
                });
            }
            Err(failure) => {
                return Err(upstream.refusal_about(thread_id, Needs::Thread, failure).await);
            }
        };
        let page = threads::page(&answer)?;
        // A thread that isn't there looks like one without items.
        if page.is_nothing() && after.is_none() && upstream.has_lost_empty(thread_id).await {
            return Err(threads::lost());
        }
        if after.is_some() && page.next() == after.as_deref() {
            return Err(UpstreamFailure::Protocol("the upstream's cursor goes round").into());
        }
        let (rows, next) = whole_turns(&page);
        let next = match next {
            Some(next) => Some(cursors.seal(thread_id, &next).await?),
            None => None,
        };
        let mut items: Vec<Box<RawValue>> = rows.iter().map(|item| (*item).to_owned()).collect();
        items.reverse();
        let (settings, since) = (&exchange.settings, record.created_at);
        reply::json(&MessagesReply {
            conversation: summary,
            messages: turns::messages(&items, settings.utc_offset, since, &settings.acted),
            has_more: next.is_some(),
            next: next.as_deref(),
        })
    }
}

/// Gives the rows of a page, newest first, back to one that a turn begins with, and the cursor of
/// what is before them.
///
/// All of them if they are one turn, or if the upstream's cursors are not its items' ids, so that
/// none can be had that is not the end of a page.
fn whole_turns<'p, 'a>(page: &'p UpstreamPage<'a>) -> (&'p [&'a RawValue], Option<String>) {
    let all = (&*page.data, page.next().map(str::to_owned));
    let (Some(next), Some(last)) = (page.next(), page.data.last()) else { return all };
    let is_cursor = threads::id(last).as_deref() == Some(next);
    let Some(begin) = page.data.iter().rposition(|item| turns::begins_one(item)) else {
        return all;
    };
    let Some(rows) = page.data.get(..=begin) else { return all };
    match rows.last().and_then(|item| threads::id(item)) {
        Some(id) if is_cursor && is_one_of_a_kind(&id, &page.data) => (rows, Some(id)),
        _ => all,
    }
}

/// Tells whether one item alone has that id. Some servers give many the same: it says nothing of a
/// place then.
fn is_one_of_a_kind(id: &str, items: &[&RawValue]) -> bool {
    items.iter().filter(|item| threads::id(item).as_deref() == Some(id)).count() == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a page of items whose ids are their places and whose types begin with these letters:
    /// the ids that are used, and the cursor.
    fn cut(kinds: &str, after: &str) -> (Vec<String>, Option<String>) {
        let items: Vec<String> = kinds
            .chars()
            .enumerate()
            .map(|(n, kind)| {
                let kind = match kind {
                    'u' => "user_message",
                    'a' => "assistant_message",
                    _ => "client_tool_call",
                };
                format!(r#"{{"id":"{n}","type":"{kind}"}}"#)
            })
            .collect();
        let more = !after.is_empty();
        let text =
            format!(r#"{{"data":[{}],"has_more":{more},"after":"{after}"}}"#, items.join(","));
        let page = threads::page(text.as_bytes()).unwrap();
        let (rows, next) = whole_turns(&page);
        (rows.iter().filter_map(|row| threads::id(row)).collect(), next)
    }

    #[test]
    fn a_turn_is_not_torn_unless_it_must_be() {
        for (kinds, after, used, next) in [
            ("auau", "3", 4, Some("3")),
            ("auaua", "4", 4, Some("3")),
            ("auatt", "4", 2, Some("1")),
            ("u", "0", 1, Some("0")),
            // One turn, and longer than a page.
            ("attat", "4", 5, Some("4")),
            // The last page.
            ("auat", "", 4, None),
            ("", "", 0, None),
            // Cursors that are no ids, and one of an item that isn't shown.
            ("auaua", "opaque", 5, Some("opaque")),
            ("", "hidden", 0, Some("hidden")),
        ] {
            let (ids, cursor) = cut(kinds, after);
            assert_eq!((ids.len(), cursor.as_deref()), (used, next), "{kinds} {after}");
        }
    }
}
