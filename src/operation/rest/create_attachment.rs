//! Creates an attachment and shows it as the upstream made it, but for the `metadata` that some
//! servers add: it is between them and their store.

use http::Method;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::chatkit::upstream::UpstreamFailure;
use crate::chatkit::{ChatKit, ChatKitBody, envelope, threads};
use crate::operation::attachment::{NO_ID, record};
use crate::operation::reply;
use crate::operation::{Exchange, Gives, Operation, Read, Reply, Row, Takes};
use crate::principal::Principal;
use crate::rejection::{Code, Rejection};
use crate::session::{Attachments, Desk};
use crate::stream::Object;
use crate::surface::Surface;

/// The member of an attachment that is not for clients.
const PRIVATE: &str = "metadata";

pub(crate) struct CreateAttachment;

pub(crate) struct Call {
    params: Box<RawValue>,
}

impl Operation for CreateAttachment {
    const ROW: Row = Row {
        name: "create_attachment",
        surface: Surface::Rest,
        method: Method::POST,
        path: "/attachments",
        takes: Takes::Json,
        gives: Gives::Json,
        asks_upstream: true,
        may_be_foreign: false,
        refuses: &[Code::AttachmentIdReused],
        tag: "Attachments",
        summary: "Announce an attachment",
        description: "The answer says where and how to upload it. Its id can then be used in messages.",
        links: &[("attachment_id", "/data/id")],
    };

    type Call = Call;
    type Grant = Attachments;

    fn parse(read: &Read<'_>) -> Result<Call, Rejection> {
        read.json()?;
        Ok(Call { params: read.typed()? })
    }

    async fn admit(desk: &Desk, principal: &Principal, _: &Call) -> Result<Attachments, Rejection> {
        Ok(desk.attachments(principal))
    }

    async fn answer<S: ChatKit<R>, R: ChatKitBody>(
        exchange: Exchange<S>,
        attachments: Attachments,
        Call { params }: Call,
    ) -> Reply<R> {
        let request = envelope::new_attachment(&params);
        let Exchange { upstream, detached, .. } = exchange;
        let answer = record(upstream, &detached, attachments, request).await?;
        let attachment = threads::object(&answer)
            .ok_or(UpstreamFailure::Protocol("the upstream's attachment is not one"))?;
        let written = attachment.get("id").ok_or(UpstreamFailure::Protocol(NO_ID))?;
        if attachment.member(PRIVATE).is_none() && written.get().starts_with('"') {
            let attachment: &RawValue = serde_json::from_slice(&answer).map_err(|_| {
                Rejection::new(Code::Internal).because("an attachment was JSON before")
            })?;
            return reply::one(attachment);
        }
        let id = attachment.id().ok_or(UpstreamFailure::Protocol(NO_ID))?;
        reply::one(ShownAttachment { id: &id, attachment: &attachment })
    }
}

/// An attachment as it is shown: as it was written, with its id as the text that names it and
/// without what is private.
struct ShownAttachment<'a> {
    id: &'a str,
    attachment: &'a Object<'a>,
}

impl Serialize for ShownAttachment<'_> {
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
