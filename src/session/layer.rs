use std::sync::Arc;

use tower_layer::Layer;

use super::client_session::SecretSigner;
use super::cursors::Cursors;
use super::rules::{ChatSettings, Rules, SessionLimits};
use super::service::Session;
use super::store::SessionStore;
use crate::limit::PerUserStreams;

/// Puts the ownership check in front of a service. See the [module's documentation](super).
#[derive(Clone, Debug)]
pub struct SessionLayer {
    store: Arc<dyn SessionStore>,
    limits: SessionLimits,
    streams: Option<PerUserStreams>,
    chat: ChatSettings,
    signer: Option<Arc<dyn SecretSigner>>,
    unknown_attachments: UnknownAttachments,
}

/// What the id of an attachment that nobody is known to own meets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownAttachments {
    /// It is let through: clients upload files past the gateway, and nobody can tell whose they
    /// are. Somebody else's are refused all the same.
    Forward,
    /// It is refused.
    #[default]
    Refuse,
}

impl SessionLayer {
    /// Keeps sessions in `store`, within `limits`.
    pub fn new(store: Arc<dyn SessionStore>, limits: SessionLimits) -> Self {
        let chat = ChatSettings::default();
        let unknown_attachments = UnknownAttachments::Refuse;
        Self { store, limits, streams: None, chat, signer: None, unknown_attachments }
    }

    /// Limits how many runs a user may have under way; a run counts until its body ends.
    #[must_use]
    pub fn with_streams(self, streams: PerUserStreams) -> Self {
        Self { streams: Some(streams), ..self }
    }

    /// Says what becomes of attachments that nobody is known to own.
    #[must_use]
    pub fn with_unknown_attachments(self, unknown_attachments: UnknownAttachments) -> Self {
        Self { unknown_attachments, ..self }
    }

    /// Replaces the rules of one-shot chat.
    #[must_use]
    pub fn with_chat(self, chat: ChatSettings) -> Self {
        Self { chat, ..self }
    }

    /// Makes the secrets of client sessions. Without it the OpenAI-compatible API has none.
    #[must_use]
    pub fn with_client_secrets(self, signer: Arc<dyn SecretSigner>) -> Self {
        Self { signer: Some(signer), ..self }
    }
}

impl<S> Layer<S> for SessionLayer {
    type Service = Session<S>;

    fn layer(&self, inner: S) -> Self::Service {
        let rules = Rules {
            store: Arc::clone(&self.store),
            limits: self.limits,
            streams: self.streams.clone(),
            unknown_attachments: self.unknown_attachments,
            cursors: Cursors::new(Arc::clone(&self.store)),
            chat: self.chat,
            signer: self.signer.clone(),
        };
        Session::new(Arc::new(rules), inner)
    }
}
