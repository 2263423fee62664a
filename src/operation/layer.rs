use std::sync::Arc;

use http::Uri;
use tower_layer::Layer;

use super::service::Operations;
use crate::chatkit::ChatKitSettings;
use crate::limit::{BufferedBytes, PerUserStreams};
use crate::operation::detached::DetachedTasks;
use crate::session::Desk;
use crate::validate::Reader;

/// Carries the operations out in front of a service that speaks ChatKit. See the
/// [module's documentation](super).
#[derive(Clone, Debug)]
pub struct OperationLayer {
    pub(super) reader: Reader,
    pub(super) desk: Desk,
    pub(super) settings: Arc<ChatKitSettings>,
    pub(super) detached: DetachedTasks,
}

impl OperationLayer {
    /// Reads with `reader`, asks at `desk` who may, and asks the upstream by `settings`.
    pub fn new(reader: Reader, desk: Desk, settings: ChatKitSettings) -> Self {
        let detached = DetachedTasks::new(settings.max_detached_tasks);
        Self { reader, desk, settings: Arc::new(settings), detached }
    }

    /// Replaces how requests are read.
    #[must_use]
    pub fn with_reader(self, reader: Reader) -> Self {
        Self { reader, ..self }
    }

    /// Replaces the store and its rules.
    #[must_use]
    pub fn with_desk(self, desk: Desk) -> Self {
        Self { desk, ..self }
    }

    /// Replaces how the upstream is asked.
    #[must_use]
    pub fn with_settings(self, settings: ChatKitSettings) -> Self {
        Self::new(self.reader, self.desk, settings)
    }

    /// Replaces what streams, and what is read whole, count among, and how many tasks may outlive their
    /// clients.
    #[must_use]
    pub(crate) fn with_counts(
        self,
        streams: PerUserStreams,
        buffered: BufferedBytes,
        max_detached_tasks: usize,
    ) -> Self {
        let Self { reader, desk, settings, detached: _ } = self;
        let settings =
            ChatKitSettings { buffered: Some(buffered.clone()), ..Arc::unwrap_or_clone(settings) };
        Self {
            reader: reader.with_buffered_bytes(buffered),
            desk: desk.with_streams(streams),
            settings: Arc::new(settings),
            detached: DetachedTasks::new(max_detached_tasks),
        }
    }

    /// Waits for what is finished though its client has left: attachments and threads that are
    /// being made or deleted. To be called, within a time of the caller's, when no more requests
    /// come and the process is about to end.
    pub async fn finished(&self) {
        self.detached.finished().await;
    }

    pub(crate) fn endpoint(&self) -> &Uri {
        &self.settings.endpoint
    }
}

impl<S> Layer<S> for OperationLayer {
    type Service = Operations<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Operations::new(self.clone(), inner)
    }
}
