//! Deletes an attachment. One that the upstream hasn't got is forgotten.

use http::Method;
use serde::Serialize;

use crate::chatkit::{ChatKit, ChatKitBody, envelope};
use crate::operation::attachment::remove;
use crate::operation::reply;
use crate::operation::{Exchange, Gives, Operation, Read, Reply, Row, Takes};
use crate::principal::Principal;
use crate::rejection::{Code, Rejection};
use crate::session::{Attachments, Desk};
use crate::surface::Surface;

pub(crate) struct DeleteAttachment;

pub(crate) struct Call {
    attachment: Box<str>,
}

impl Operation for DeleteAttachment {
    const ROW: Row = Row {
        name: "delete_attachment",
        surface: Surface::Rest,
        method: Method::DELETE,
        path: "/attachments/{attachment_id}",
        takes: Takes::Nothing,
        gives: Gives::Json,
        asks_upstream: true,
        may_be_foreign: true,
        refuses: &[Code::AttachmentNotFound],
        tag: "Attachments",
        summary: "Delete an attachment",
        description: "Only its owner can.",
        links: &[],
    };

    type Call = Call;
    type Grant = Attachments;

    fn parse(read: &Read<'_>) -> Result<Call, Rejection> {
        Ok(Call { attachment: read.attachment() })
    }

    async fn admit(
        desk: &Desk,
        principal: &Principal,
        call: &Call,
    ) -> Result<Attachments, Rejection> {
        desk.find_attachment(principal, &call.attachment).await
    }

    async fn answer<S: ChatKit<R>, R: ChatKitBody>(
        exchange: Exchange<S>,
        attachments: Attachments,
        Call { attachment: id }: Call,
    ) -> Reply<R> {
        let request = envelope::delete_attachment(&id);
        let Exchange { upstream, detached, .. } = exchange;
        remove(upstream, &detached, attachments, id.clone().into(), request).await?;
        reply::one(DeletedAttachment { id: &id, deleted: true })
    }
}

/// An attachment that was deleted.
#[derive(Serialize)]
struct DeletedAttachment<'a> {
    id: &'a str,
    deleted: bool,
}
