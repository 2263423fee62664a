//! `create_attachment`, `delete_attachment`.

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use tower_service::Service;

use super::errand::Errands;
use super::service::{Exchange, Reply};
use super::upstream::{ChatKit, ChatKitBody, Failure, Upstream};
use super::{envelope, reply, threads};
use crate::error::BoxError;
use crate::rejection::{Code, Rejection};
use crate::session::Attachments;
use crate::stream::Object;

/// The member of an attachment that is not for clients.
const PRIVATE: &str = "metadata";

const NO_ID: &str = "the upstream's new attachment has no id";

/// An attachment as it is shown: as it was written, with its id as the text that names it and
/// without what is private.
struct Shown<'a> {
    id: &'a str,
    attachment: &'a Object<'a>,
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.attachment.members() {
            match name {
                PRIVATE => {}
                "id" => map.serialize_entry(name, self.id)?,
                _ => map.serialize_entry(name, value)?,
            }
        }
        map.end()
    }
}

/// Creates an attachment and shows it as the upstream made it, but for the `metadata` that some
/// servers add: it is between them and their store.
pub(crate) async fn create<S, R>(
    exchange: Exchange<S>,
    attachments: Attachments,
    params: Box<RawValue>,
) -> Reply<R>
where
    S: ChatKit<R>,
    R: ChatKitBody,
{
    let request = envelope::new_attachment(&params);
    let Exchange { upstream, errands, .. } = exchange;
    let answer = record(upstream, &errands, attachments, request).await?;
    let attachment = threads::object(&answer)
        .ok_or(Failure::Protocol("the upstream's attachment is not one"))?;
    let written = attachment.get("id").ok_or(Failure::Protocol(NO_ID))?;
    if attachment.member(PRIVATE).is_none() && written.get().starts_with('"') {
        let attachment: &RawValue = serde_json::from_slice(&answer)
            .map_err(|_| Rejection::new(Code::Internal).because("an attachment was JSON before"))?;
        return reply::one(attachment);
    }
    let id = attachment.id().ok_or(Failure::Protocol(NO_ID))?;
    reply::one(Shown { id: &id, attachment: &attachment })
}

/// Has the upstream create an attachment, and records whose it is: what the upstream has made
/// must have an owner, whether or not the client is still there to be told.
pub(crate) async fn record<S, R>(
    mut upstream: Upstream<S>,
    errands: &Errands,
    attachments: Attachments,
    request: Bytes,
) -> Result<Bytes, Rejection>
where
    S: ChatKit<R>,
    R: ChatKitBody,
{
    let recording = async move {
        let answer = upstream.json(request).await?;
        let id = threads::object(&answer).and_then(|attachment| attachment.id());
        let id = id.ok_or(Failure::Protocol(NO_ID))?;
        match attachments.created(&id).await {
            Ok(()) => Ok(answer),
            Err(rejection) => {
                // Nobody could ever use it or delete it. An id that is taken is another's file.
                if rejection.code() == Code::ServiceUnavailable
                    && upstream.json(envelope::delete_attachment(&id)).await.is_err()
                {
                    tracing::warn!("an attachment without an owner was not deleted");
                }
                Err(rejection)
            }
        }
    };
    errands.run(recording).await
}

/// Deletes an attachment. One that the upstream hasn't got is forgotten.
pub(crate) async fn delete<S, R>(
    exchange: Exchange<S>,
    attachments: Attachments,
    id: Box<str>,
) -> Reply<R>
where
    S: ChatKit<R>,
    R: ChatKitBody,
{
    let request = envelope::delete_attachment(&id);
    let Exchange { upstream, errands, .. } = exchange;
    remove(upstream, &errands, attachments, id.clone().into(), request).await?;
    reply::one(reply::DeletedAttachment { id: &id, deleted: true })
}

/// Has the upstream delete an attachment, and forgets whose it was; to its end, or the row would
/// stay for a file that is gone.
///
/// The file first: an owner who is forgotten too early leaves a file that nobody may delete. If
/// the process dies in between, the row stays, and a server that answers a bare 500 about what it
/// hasn't got fails every later deletion: that may as well be a fault of its files' store.
pub(crate) async fn remove<S, R>(
    mut upstream: Upstream<S>,
    errands: &Errands,
    attachments: Attachments,
    id: String,
    request: Bytes,
) -> Result<Bytes, Rejection>
where
    S: ChatKit<R>,
    R: ChatKitBody,
{
    errands.run(async move { forget(&mut upstream, &attachments, &id, request).await }).await
}

/// The same, as a part of what is an errand already.
pub(crate) async fn forget<S, R>(
    upstream: &mut Upstream<S>,
    attachments: &Attachments,
    id: &str,
    request: Bytes,
) -> Result<Bytes, Rejection>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    match upstream.json(request).await {
        Ok(answer) => {
            attachments.deleted(id).await?;
            Ok(answer)
        }
        Err(failure) if failure.is_not_found() => {
            attachments.deleted(id).await?;
            Err(Rejection::new(Code::AttachmentNotFound)
                .because("the upstream hasn't got the attachment"))
        }
        Err(failure) => Err(failure.into()),
    }
}
