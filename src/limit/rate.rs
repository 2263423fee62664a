//! Requests of one user in a minute.

use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::bucket::{Buckets, Verdict};
use crate::principal::Identified;
use crate::rejection::{Code, RefusalStyle, RefusedOr, Rejection};

/// How many users are told apart at once, unless configured.
pub const MAX_USERS: usize = 100_000;

/// The window of the limit, in seconds.
const WINDOW: u64 = 60;

const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// At most so many requests a minute from each user, over all services made by this layer.
///
/// A user may send all of them at once; after that, one is given back every
/// 60 s ÷ `requests` (GCRA). Every response that went through says where its user stands, in the
/// fields `RateLimit` and `RateLimit-Policy` of draft-ietf-httpapi-ratelimit-headers: `q` and `w`
/// are the requests and the seconds of the limit, `r` the requests that are left, and `t` the
/// seconds until all of them are there again. It is a draft; `Retry-After` (RFC 9110 section
/// 10.2.3) is what a client should go by.
#[derive(Clone, Debug)]
pub struct RateLimitLayer {
    limit: Option<Arc<Limit>>,
}

impl RateLimitLayer {
    /// At most `requests` a minute; 0 is no limit, and no header fields.
    pub fn per_minute(requests: u32) -> Self {
        Self::with_max_users(requests, MAX_USERS)
    }

    /// As [`per_minute`](Self::per_minute), for at most `max_users` users at once.
    ///
    /// A user counts until their requests are all given back. A further user is refused with
    /// 503: letting them in uncounted would make the limit void for whoever can make up users.
    pub fn with_max_users(requests: u32, max_users: usize) -> Self {
        let limit =
            NonZeroU32::new(requests).map(|requests| Arc::new(Limit::new(requests, max_users)));
        Self { limit }
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimit<S>;

    fn layer(&self, inner: S) -> RateLimit<S> {
        RateLimit { inner, limit: self.limit.clone() }
    }
}

/// Answers 429 to users over their limit.
///
/// Made by [`RateLimitLayer`].
#[derive(Clone, Debug)]
pub struct RateLimit<S> {
    inner: S,
    limit: Option<Arc<Limit>>,
}

impl<S, B, R> Service<Request<B>> for RateLimit<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    B: Identified,
{
    type Response = Response<RefusedOr<R>>;
    type Error = S::Error;
    type Future = RateLimitFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let verdict = match &self.limit {
            None => Ok(None),
            Some(limit) => limit.check(request.body()).map(Some),
        };
        let state = match verdict {
            Ok(standing) => State::Inner { future: self.inner.call(request), standing },
            Err(rejection) => {
                State::Refused { refusal: Some((rejection, RefusalStyle::of(&request))) }
            }
        };
        RateLimitFuture { state }
    }
}

#[derive(Debug)]
struct Limit {
    requests: NonZeroU32,
    buckets: Buckets,
    policy: HeaderValue,
}

impl Limit {
    fn new(requests: NonZeroU32, max_users: usize) -> Self {
        let policy = field(&format!("\"user\";q={requests};w={WINDOW}"));
        Self { requests, buckets: Buckets::new(requests, max_users), policy }
    }

    fn check<B: Identified>(&self, body: &B) -> Result<Standing, Rejection> {
        match self.buckets.take(body.principal().user_id()) {
            Verdict::Allowed { remaining } => Ok(self.standing(remaining)),
            Verdict::Denied { wait } => {
                let Standing { policy, limit } = self.standing(0);
                Err(Rejection::new(Code::RateLimited)
                    .message(format!("At most {} requests a minute are allowed.", self.requests))
                    .because("the user is over the limit of requests a minute")
                    .retry_after(whole_seconds(wait))
                    .header(RATELIMIT_POLICY, policy)
                    .header(RATELIMIT, limit))
            }
            Verdict::Full => Err(Rejection::new(Code::ServiceUnavailable)
                .because("as many users are rate-limited as can be told apart")
                .header(RATELIMIT_POLICY, self.policy.clone())),
        }
    }

    fn standing(&self, remaining: u32) -> Standing {
        let requests = u64::from(self.requests.get());
        let used = requests.saturating_sub(u64::from(remaining));
        let reset = (used * WINDOW).div_ceil(requests);
        Standing {
            policy: self.policy.clone(),
            limit: field(&format!("\"user\";r={remaining};t={reset}")),
        }
    }
}

/// Where a user stands, as header fields.
#[derive(Debug)]
struct Standing {
    policy: HeaderValue,
    limit: HeaderValue,
}

impl Standing {
    fn put(self, headers: &mut HeaderMap) {
        headers.insert(RATELIMIT_POLICY, self.policy);
        headers.insert(RATELIMIT, self.limit);
    }
}

/// Digits and punctuation always make a header value.
fn field(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Rounded up, and never 0: who comes back at that time is let in.
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1)
}

pin_project! {
    /// The inner service's response with the header fields of the limit, or the refusal.
    #[derive(Debug)]
    pub struct RateLimitFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = StateProjection]
    enum State<F> {
        Inner { #[pin] future: F, standing: Option<Standing> },
        Refused { refusal: Option<(Rejection, RefusalStyle)> },
    }
}

impl<F, R, E> Future for RateLimitFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<RefusedOr<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Inner { future, standing } => {
                let mut response = ready!(future.poll(cx))?;
                if let Some(standing) = standing.take() {
                    standing.put(response.headers_mut());
                }
                Poll::Ready(Ok(RefusedOr::pass(response)))
            }
            StateProjection::Refused { refusal } => match refusal.take() {
                Some((rejection, style)) => Poll::Ready(Ok(RefusedOr::refuse(rejection, &style))),
                // Polled again after the end: there is nothing more to come.
                None => Poll::Pending,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tower::{ServiceExt as _, service_fn};

    use super::*;
    use crate::principal::{Authenticated, Principal, UserId};

    async fn hello(_: Request<Authenticated<()>>) -> Result<Response<String>, Infallible> {
        Ok(Response::builder()
            .header("ratelimit", "\"upstream\";r=9;t=9")
            .body("hi".into())
            .unwrap())
    }

    async fn send(layer: &RateLimitLayer, user: &str) -> Response<RefusedOr<String>> {
        let principal = Principal::new(UserId::parse(user).unwrap());
        let request = Request::new(Authenticated::new(principal, ()));
        // A service of its own each time: the count is the layer's.
        layer.layer(service_fn(hello)).oneshot(request).await.unwrap()
    }

    fn fields<B>(response: &Response<B>) -> (u16, &str, Option<&str>) {
        let text = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap());
        assert_eq!(response.headers().get_all("ratelimit").iter().count(), 1);
        (response.status().as_u16(), text("ratelimit").unwrap(), text("retry-after"))
    }

    #[tokio::test(start_paused = true)]
    async fn responses_say_where_the_user_stands_and_when_to_come_back() {
        let layer = RateLimitLayer::per_minute(3);
        let response = send(&layer, "ada").await;
        assert_eq!(fields(&response), (200, "\"user\";r=2;t=20", None));
        assert_eq!(response.headers()["ratelimit-policy"], "\"user\";q=3;w=60");
        assert_eq!(fields(&send(&layer, "ada").await), (200, "\"user\";r=1;t=40", None));
        assert_eq!(fields(&send(&layer, "ada").await), (200, "\"user\";r=0;t=60", None));

        let refused = send(&layer, "ada").await;
        assert_eq!(fields(&refused), (429, "\"user\";r=0;t=60", Some("20")));
        assert_eq!(refused.headers()["ratelimit-policy"], "\"user\";q=3;w=60");
        let refusal = refused.extensions().get::<crate::rejection::Refused>().unwrap();
        assert_eq!(refusal.code(), Code::RateLimited);

        // Half a second early is refused, with a second to wait and not none.
        tokio::time::advance(Duration::from_millis(19_500)).await;
        assert_eq!(fields(&send(&layer, "ada").await).2, Some("1"));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(send(&layer, "ada").await.status(), 200);
        assert_eq!(send(&layer, "ada").await.status(), 429);
        assert_eq!(send(&layer, "eve").await.status(), 200);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_as_told_is_let_in() {
        for requests in [1, 7, 30, 59, 61, 1000] {
            let layer = RateLimitLayer::per_minute(requests);
            for _ in 0..requests {
                assert_eq!(send(&layer, "ada").await.status(), 200);
            }
            let refused = send(&layer, "ada").await;
            let wait = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
            tokio::time::advance(Duration::from_secs(wait)).await;
            assert_eq!(send(&layer, "ada").await.status(), 200, "{requests}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn too_many_users_are_refused_as_overload() {
        let layer = RateLimitLayer::with_max_users(30, 1);
        assert_eq!(send(&layer, "ada").await.status(), 200);
        let refused = send(&layer, "eve").await;
        assert_eq!(refused.status(), 503);
        assert_eq!(refused.headers()["retry-after"], "1");
        assert_eq!(refused.headers()["ratelimit-policy"], "\"user\";q=30;w=60");
        assert_eq!(send(&layer, "ada").await.status(), 200);
    }

    #[tokio::test]
    async fn zero_is_no_limit_and_says_nothing() {
        let layer = RateLimitLayer::per_minute(0);
        for _ in 0..1000 {
            let response = send(&layer, "ada").await;
            assert_eq!(response.status(), 200);
            assert_eq!(response.headers()["ratelimit"], "\"upstream\";r=9;t=9");
            assert!(!response.headers().contains_key("ratelimit-policy"));
        }
    }
}
