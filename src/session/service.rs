use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower_service::Service;

use super::admitted::Admitted;
use super::rules::Rules;
use crate::rejection::RefusalStyle;
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
    R: From<Full<Bytes>> + Send + 'static,
{
    /// A refusal is a body of the inner service's type: one more around it would cost every
    /// frame of every stream something.
    type Response = Response<R>;
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
                    inner.call(Request::from_parts(head, admitted)).await
                }
                Err(rejection) => {
                    Ok(rejection.into_response(&RefusalStyle::of_parts(&head)).map(R::from))
                }
            }
        })
    }
}
