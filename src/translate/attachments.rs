//! `create_attachment`, `delete_attachment`.

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use serde_json::value::RawValue;
use tower_service::Service;

use super::service::{Exchange, Reply};
use super::upstream::Upstream;
use super::{envelope, reply, threads};
use crate::error::BoxError;
use crate::rejection::{Code, Rejection};
use crate::session::Attachments;

/// Creates an attachment and shows it as the upstream made it.
pub(super) async fn create<S, R>(
    exchange: Exchange<S>,
    attachments: Attachments,
    params: Box<RawValue>,
) -> Reply<R>
where
    S: Service<
            Request<Full<Bytes>>,
            Response = Response<R>,
            Future: Send,
            Error: Into<BoxError> + Send,
        > + Send
        + 'static,
    R: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let request = envelope::new_attachment(&params);
    let answer = record(exchange.upstream, attachments, request).await?;
    let attachment: &RawValue = serde_json::from_slice(&answer)
        .map_err(|_| Rejection::new(Code::Internal).because("an attachment was JSON before"))?;
    reply::one(attachment)
}

/// Has the upstream create an attachment, and records whose it is.
///
/// In a task of its own: what the upstream has made must have an owner, whether or not the client
/// is still there to be told. The upstream's time-outs bound its life.
pub(super) async fn record<S, R>(
    mut upstream: Upstream<S>,
    attachments: Attachments,
    request: Bytes,
) -> Result<Bytes, Rejection>
where
    S: Service<
            Request<Full<Bytes>>,
            Response = Response<R>,
            Future: Send,
            Error: Into<BoxError> + Send,
        > + Send
        + 'static,
    R: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let recorded = tokio::spawn(async move {
        let answer = upstream.json(request).await?;
        let id = serde_json::from_slice::<&RawValue>(&answer).ok().and_then(threads::id);
        let Some(id) = id else {
            return Err(Rejection::new(Code::UpstreamError)
                .because("the upstream's new attachment has no id"));
        };
        attachments.created(&id).await?;
        Ok(answer)
    });
    recorded.await.map_err(|_| {
        Rejection::new(Code::Internal).because("the task for an attachment was stopped")
    })?
}

/// Deletes an attachment. One that the upstream hasn't got is forgotten.
pub(super) async fn delete<S, R>(
    mut exchange: Exchange<S>,
    attachments: Attachments,
    id: Box<str>,
) -> Reply<R>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    match exchange.upstream.json(envelope::delete_attachment(&id)).await {
        Ok(_) => {
            attachments.deleted(&id).await?;
            reply::one(reply::DeletedAttachment { id: &id, deleted: true })
        }
        Err(failure) if failure.is_not_found() => {
            attachments.deleted(&id).await?;
            Err(Rejection::new(Code::AttachmentNotFound)
                .because("the upstream hasn't got the attachment"))
        }
        Err(failure) => Err(failure.into()),
    }
}
