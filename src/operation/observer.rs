//! What a run's events mean for its session.

use crate::error::BoxError;
use crate::rejection::{Code, Rejection};
use crate::session::{BindError, RunClaim};
use crate::stream::{Binding, End, Event, EventKind, ItemKind, RunObserver};
use crate::telemetry::Record;

/// Binds threads, counts messages and learns titles while a run passes.
#[derive(Debug)]
pub struct SessionObserver {
    claim: RunClaim,
    record: Option<Record>,
}

impl SessionObserver {
    pub(crate) fn new(claim: RunClaim, record: Option<Record>) -> Self {
        Self { claim, record }
    }
}

impl RunObserver for SessionObserver {
    fn thread_created(&mut self, thread_id: &str) -> Option<Binding> {
        let binding = self.claim.bind(thread_id)?;
        Some(Box::pin(async move { binding.await.map_err(BoxError::from) }))
    }

    fn thread_named(&mut self, thread_id: &str) -> Option<Binding> {
        let looking = self.claim.name(thread_id)?;
        Some(Box::pin(async move { looking.await.map_err(BoxError::from) }))
    }

    fn event(&mut self, event: Event<'_>) {
        match event.kind {
            EventKind::ItemDone => {
                self.claim.saw_item();
                if event.item_kind.is_some_and(ItemKind::is_message) {
                    self.claim.count_message();
                }
            }
            EventKind::ThreadCreated | EventKind::ThreadUpdated => {
                if let Some(title) = event.title
                    && !event.id.is_some_and(|id| self.claim.is_another(id))
                {
                    self.claim.learn_title(title);
                }
            }
            EventKind::Aside
            | EventKind::Error
            | EventKind::ItemAdded
            | EventKind::ItemRemoved
            | EventKind::ItemReplaced
            | EventKind::Other
            | EventKind::StreamOptions => {}
        }
    }

    fn ended(&mut self, end: End) {
        if let Some(record) = &self.record {
            record.ended(end.as_str());
        }
    }
}

/// Tells what a thread that could not be bound becomes, if it was that which broke a run.
pub(crate) fn unbound(error: &(dyn std::error::Error + 'static)) -> Option<Rejection> {
    let error = error.downcast_ref::<BindError>()?;
    let code = match error {
        BindError::LeaseLost => Code::Conflict,
        BindError::Store(_) => Code::ServiceUnavailable,
        BindError::ThreadReused => Code::ThreadIdReused,
    };
    Some(Rejection::new(code).because(crate::error::chain(error)))
}
