//! What becomes of an attachment at the upstream, and of the record of whose it is.

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use tower_service::Service;

use crate::chatkit::upstream::{Upstream, UpstreamFailure};
use crate::chatkit::{ChatKit, ChatKitBody, envelope, threads};
use crate::error::BoxError;
use crate::operation::detached::DetachedTasks;
use crate::rejection::{Code, Rejection};
use crate::session::Attachments;

pub(super) const NO_ID: &str = "the upstream's new attachment has no id";

/// Has the upstream create an attachment, and records whose it is: what the upstream has made
/// must have an owner, whether or not the client is still there to be told.
pub(crate) async fn record<S, R>(
    mut upstream: Upstream<S>,
    detached: &DetachedTasks,
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
        let id = id.ok_or(UpstreamFailure::Protocol(NO_ID))?;
        match attachments.created(&id).await {
            Ok(()) => Ok(answer),
            Err(rejection) => {
                // Nobody could ever use it or delete it. An id that is taken is another's file.
                if rejection.code() != Code::AttachmentIdReused
                    && upstream.json(envelope::delete_attachment(&id)).await.is_err()
                {
                    tracing::warn!("an attachment without an owner was not deleted");
                }
                Err(rejection)
            }
        }
    };
    detached.run(recording).await
}

/// Has the upstream delete an attachment, and forgets whose it was; to its end, or the row would
/// stay for a file that is gone.
///
/// The file first: an owner who is forgotten too early leaves a file that nobody may delete. If
/// the process dies in between, the row stays, and a server that answers a bare 500 about what it
/// hasn't got fails every later deletion: that may as well be a fault of its files' store.
pub(crate) async fn remove<S, R>(
    mut upstream: Upstream<S>,
    detached: &DetachedTasks,
    attachments: Attachments,
    id: String,
    request: Bytes,
) -> Result<Bytes, Rejection>
where
    S: ChatKit<R>,
    R: ChatKitBody,
{
    detached.run(async move { forget(&mut upstream, &attachments, &id, request).await }).await
}

/// Does the same as a part of a task that is detached already.
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
