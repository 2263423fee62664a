//! One-shot chat: the conversation that is meant, or a new one.

use std::sync::Arc;

use super::Rules;
use crate::principal::Principal;
use crate::rejection::{Code, Rejection};
use crate::session::admitted::Action;
use crate::validate::ChatCall;

impl Rules {
    #[expect(clippy::unused_async, reason = "to come")]
    pub(super) async fn chat(
        self: &Arc<Self>,
        _principal: &Principal,
        _call: ChatCall,
    ) -> Result<Action, Rejection> {
        Err(Rejection::new(Code::Internal))
    }
}
