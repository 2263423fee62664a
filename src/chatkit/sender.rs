//! In whose name the upstream is asked.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};

use super::settings::ChatKitSettings;
use super::upstream::{INCREMENTAL, JSON, YES};
use crate::limit::BufferPermit;
use crate::principal::UserId;
use crate::proof::{PROOF, Statement};
use crate::rejection::{Rejection, X_REQUEST_ID};

/// The caller, as the upstream is told of them.
///
/// The fields are made for each request: most operations send one, which is cheaper than to keep
/// them and send copies.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    settings: Arc<ChatKitSettings>,
    /// That of the caller's request.
    head: Arc<Parts>,
    user: UserId,
    /// What the request is carried out as, for the proof.
    operation: &'static str,
    keeps_token: bool,
}

/// Room for what is read whole, which is given back with it. Where nothing is counted there is
/// always some.
#[derive(Debug, Default)]
pub(crate) struct ReplyPermit(Option<BufferPermit>);

impl ReplyPermit {
    /// Makes room for `bytes`, all in all.
    pub(crate) fn grow_to(&mut self, bytes: usize) -> Result<(), Rejection> {
        self.0.as_mut().map_or(Ok(()), |permit| permit.grow_to(bytes))
    }

    /// Gives the permit, if anything is counted.
    pub(crate) fn into_permit(self) -> Option<BufferPermit> {
        self.0
    }

    /// Gives these bytes, for which there is room as long as they are kept.
    pub(crate) fn held_by(self, bytes: Bytes) -> Bytes {
        match self.0 {
            Some(permit) => permit.held_by(bytes),
            None => bytes,
        }
    }
}

impl Sender {
    /// Makes the sender of the request with this head, which is carried out as that operation.
    pub(crate) fn new(
        settings: Arc<ChatKitSettings>,
        head: Arc<Parts>,
        user: UserId,
        operation: &'static str,
    ) -> Self {
        Self { settings, head, user, operation, keeps_token: false }
    }

    /// Makes it the same request's sender on behalf of somebody else.
    pub(crate) fn of(self, user: UserId) -> Self {
        Self { user, ..self }
    }

    /// Makes it one that never tells the token, whatever becomes of users' tokens.
    pub(crate) fn keeping_token(self) -> Self {
        Self { keeps_token: true, ..self }
    }

    pub(crate) fn settings(&self) -> &ChatKitSettings {
        &self.settings
    }

    /// Gives a permit for what is read on their behalf.
    pub(crate) fn permit(&self) -> ReplyPermit {
        ReplyPermit(self.settings.buffered.as_ref().map(|buffered| buffered.permit(&self.user)))
    }

    /// Gives the fields of a request whose JSON is `body`.
    pub(crate) fn headers(&self, accept: HeaderValue, body: &[u8]) -> HeaderMap {
        let mut headers = self.settings.identity.outbound(&self.head.headers, &self.user);
        if self.keeps_token {
            headers.remove(AUTHORIZATION);
        }
        self.settings.public_address.tell(&self.head, &mut headers);
        headers.insert(CONTENT_TYPE, JSON);
        if accept != JSON {
            // What comes may be a stream: nobody on the way is to wait for its end.
            headers.insert(INCREMENTAL, YES);
        }
        headers.insert(ACCEPT, accept);
        if let Some(signer) = &self.settings.proof {
            let request_id = self.head.headers.get(X_REQUEST_ID);
            let statement = Statement::new(&self.user, self.operation, body)
                .with_request_id(request_id.and_then(|id| id.to_str().ok()));
            headers.insert(PROOF, signer.sign(&statement, SystemTime::now()));
        }
        headers
    }
}
