//! The OpenAI-compatible API: a service acts for the users it names.

use std::sync::Arc;

use super::Rules;
use crate::principal::Principal;
use crate::rejection::{Code, Rejection};
use crate::session::admitted::Action;
use crate::validate::OpenAiCall;

impl Rules {
    #[expect(clippy::unused_async, reason = "to come")]
    pub(super) async fn openai(
        self: &Arc<Self>,
        _principal: &Principal,
        _call: OpenAiCall,
    ) -> Result<Action, Rejection> {
        Err(Rejection::new(Code::Internal))
    }
}
