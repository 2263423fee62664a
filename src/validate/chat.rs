//! One-shot chat: target and body → [`ChatCall`].

use bytes::Bytes;
use http::HeaderMap;

use super::layer::Rules;
use crate::rejection::{Code, Rejection};
use crate::route::{Operation, Target};

/// A question.
#[derive(Debug)]
#[non_exhaustive]
pub struct ChatCall {
    /// The user that the path names.
    pub user: Option<Box<str>>,
}

impl ChatCall {
    pub(super) fn operation(&self) -> Operation {
        if self.user.is_some() { Operation::ChatForUser } else { Operation::Chat }
    }
}

pub(super) fn parse(
    _rules: &Rules,
    target: &Target,
    _headers: &HeaderMap,
    _body: &Bytes,
) -> Result<ChatCall, Rejection> {
    let _ = ChatCall { user: target.other().map(Box::from) };
    Err(Rejection::new(Code::Internal))
}
