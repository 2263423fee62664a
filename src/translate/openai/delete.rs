//! Deleting a thread with what belongs to it.

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tower_service::Service;

use super::Exchange;
use super::find::remove;
use super::threads::not_found;
use crate::error::BoxError;
use crate::rejection::{Code, Rejection};
use crate::session::{Attachments, OwnedSession};
use crate::translate::service::Reply;
use crate::translate::upstream::{Failure, Upstream};
use crate::translate::{envelope, reply};

/// The most attachments that are deleted with a thread.
const MAX_ATTACHMENTS: usize = 1000;

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the API's names")]
struct Deleted<'a> {
    id: &'a str,
    object: &'static str,
    deleted: bool,
}

/// The attachments are read off the thread while it is there, and deleted when it is gone: what
/// fails before that leaves everything as it was, and of what fails after it only files are left.
pub(super) async fn thread<S, R>(
    exchange: &mut Exchange<'_, S>,
    session: &OwnedSession,
    attachments: &Attachments,
) -> Reply<R>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>> + Clone,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let record = session.record();
    let Some(thread_id) = &record.thread_id else { return Err(not_found()) };
    let mut upstream = exchange.upstream(&record.user_id);
    let files = match upstream.all_items(thread_id).await {
        Ok(items) => items.iter().flat_map(|item| files(item)).take(MAX_ATTACHMENTS).collect(),
        // Who doesn't answer at all is not asked a second time.
        Err(failure @ Failure::Broken(_)) => return Err(failure.into()),
        Err(failure) => {
            not_deleted(&failure.into());
            Vec::new()
        }
    };
    remove(&mut upstream, session, thread_id).await?;
    for id in files {
        if let Err(rejection) = delete_file(&mut upstream, attachments, &id).await {
            not_deleted(&rejection);
            if rejection.code() != Code::UpstreamError && rejection.code() != Code::UpstreamRejected
            {
                break;
            }
        }
    }
    reply::json(&Deleted { id: thread_id, object: "chatkit.thread.deleted", deleted: true })
}

fn not_deleted(rejection: &Rejection) {
    let cause = rejection.cause().unwrap_or_default();
    tracing::warn!(cause, "a thread's attachments were not deleted with it");
}

async fn delete_file<S, R>(
    upstream: &mut Upstream<S>,
    attachments: &Attachments,
    id: &str,
) -> Result<(), Rejection>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    // An item may name somebody else's file, whose it stays.
    if !attachments.has(id).await? {
        return Ok(());
    }
    upstream.json(envelope::delete_attachment(id)).await?;
    attachments.deleted(id).await
}

/// The ids of a message's attachments.
fn files(item: &RawValue) -> Vec<String> {
    #[derive(Deserialize)]
    struct Item {
        #[serde(default)]
        attachments: Vec<Attachment>,
    }
    #[derive(Deserialize)]
    struct Attachment {
        id: String,
    }
    let item = serde_json::from_str::<Item>(item.get());
    item.map(|item| item.attachments.into_iter().map(|file| file.id).collect()).unwrap_or_default()
}
