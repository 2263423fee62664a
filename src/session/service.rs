use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::admitted::Admitted;
use super::rules::Rules;
use crate::rejection::{RefusalStyle, RefusedOr};
use crate::telemetry::Record;
use crate::validate::Validated;

/// The service that checks ownership. See the [module's documentation](super).
#[derive(Clone, Debug)]
pub struct Session<S> {
    rules: Arc<Rules>,
    inner: S,
}

impl<S> Session<S> {
    pub(super) fn new(rules: Arc<Rules>, inner: S) -> Self {
        Self { rules, inner }
    }
}

impl<S, R> Service<Request<Validated>> for Session<S>
where
    S: Service<Request<Admitted>, Response = Response<R>, Future: Send, Error: Send>
        + Clone
        + Send
        + 'static,
    R: Send + 'static,
{
    type Response = Response<RefusedOr<R>>;
    type Error = S::Error;
    /// Boxed: it holds a store's future, which is one allocation itself.
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Validated>) -> Self::Future {
        // The service that was found ready is the one that is called (tower#547).
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let rules = Arc::clone(&self.rules);
        Box::pin(async move {
            let (head, validated) = request.into_parts();
            let (principal, call) = validated.into_parts();
            let operation = call.operation();
            match rules.admit(&principal, call).await {
                Ok(action) => {
                    if let Some(record) = head.extensions.get::<Record>() {
                        record.admitted(&action);
                    }
                    let admitted = Admitted::new(principal, operation, action);
                    inner.call(Request::from_parts(head, admitted)).await.map(RefusedOr::pass)
                }
                Err(rejection) => Ok(RefusedOr::refuse(rejection, &RefusalStyle::of_parts(&head))),
            }
        })
    }
}
