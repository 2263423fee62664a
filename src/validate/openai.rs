//! The OpenAI-compatible API: target, query and body → [`OpenAiCall`].

use bytes::Bytes;

use super::layer::Rules;
use crate::rejection::{Code, Rejection};
use crate::route::{Operation, Target};

/// One operation of the OpenAI-compatible API with what it needs.
#[derive(Debug)]
#[non_exhaustive]
#[expect(missing_docs, reason = "a variant is an operation, and its fields are that table's words")]
pub enum OpenAiCall {
    CancelSession { session: Box<str> },
}

impl OpenAiCall {
    pub(super) fn operation(&self) -> Operation {
        match self {
            Self::CancelSession { .. } => Operation::OpenAiCancelSession,
        }
    }
}

pub(super) fn parse(
    _rules: &Rules,
    target: &Target,
    _query: Option<&str>,
    _body: &Bytes,
) -> Result<OpenAiCall, Rejection> {
    let _ = OpenAiCall::CancelSession { session: target.session().unwrap_or_default().into() };
    Err(Rejection::new(Code::Internal))
}
