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

use super::bucket::{BucketVerdict, Buckets};
use crate::principal::{Identified, Principal, UserId};
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
    /// Of client sessions, by their id.
    sessions: Arc<Buckets<Arc<str>>>,
}

impl RateLimitLayer {
    /// Allows at most `requests` a minute; 0 is no limit, and no header fields. A client session's
    /// own limit holds all the same.
    pub fn per_minute(requests: u32) -> Self {
        Self::with_max_users(requests, MAX_USERS)
    }

    /// Allows what [`per_minute`](Self::per_minute) does, for at most `max_users` users at once.
    ///
    /// A user counts until their requests are all given back. A further user is refused with
    /// 503: letting them in uncounted would make the limit void for whoever can make up users.
    pub fn with_max_users(requests: u32, max_users: usize) -> Self {
        let limit =
            NonZeroU32::new(requests).map(|requests| Arc::new(Limit::new(requests, max_users)));
        Self { limit, sessions: Arc::new(Buckets::new(max_users)) }
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimit<S>;

    fn layer(&self, inner: S) -> RateLimit<S> {
        let sessions = Arc::clone(&self.sessions);
        RateLimit { inner, limit: self.limit.clone(), sessions }
    }
}

/// Answers 429 to users over their limit.
///
/// Made by [`RateLimitLayer`].
#[derive(Clone, Debug)]
pub struct RateLimit<S> {
    inner: S,
    limit: Option<Arc<Limit>>,
    /// Of client sessions, by their id.
    sessions: Arc<Buckets<Arc<str>>>,
}

impl<S> RateLimit<S> {
    /// Tells where the caller stands after this request; `None` for one that nothing limits.
    fn check(&self, caller: &Principal) -> Result<Option<Standing>, Rejection> {
        if let Some(allowance) = caller.allowance() {
            let requests = allowance.requests_per_minute();
            let limit = Quota { requests, policy: policy(SESSION, requests), name: SESSION };
            return limit.judge(self.sessions.take(allowance.session(), requests)).map(Some);
        }
        match &self.limit {
            Some(limit) if !caller.is_service() => limit.check(caller.user_id()).map(Some),
            _ => Ok(None),
        }
    }
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
        let state = match self.check(request.body().principal()) {
            Ok(standing) => State::Inner { future: self.inner.call(request), standing },
            Err(rejection) => {
                State::Refused { refusal: Some((rejection, RefusalStyle::of(&request))) }
            }
        };
        RateLimitFuture { state }
    }
}

/// The names of the two limits in the header fields.
const USER: &str = "user";
const SESSION: &str = "session";

/// The limit of every user.
#[derive(Debug)]
struct Limit {
    quota: Quota,
    buckets: Buckets<UserId>,
}

impl Limit {
    fn new(requests: NonZeroU32, max_users: usize) -> Self {
        let quota = Quota { requests, policy: policy(USER, requests), name: USER };
        Self { quota, buckets: Buckets::new(max_users) }
    }

    fn check(&self, user: &UserId) -> Result<Standing, Rejection> {
        self.quota.judge(self.buckets.take(user, self.quota.requests))
    }
}

/// How a limit is told.
#[derive(Debug)]
struct Quota {
    name: &'static str,
    requests: NonZeroU32,
    policy: HeaderValue,
}

impl Quota {
    fn judge(&self, verdict: BucketVerdict) -> Result<Standing, Rejection> {
        match verdict {
            BucketVerdict::Allowed { remaining } => Ok(self.standing(remaining)),
            BucketVerdict::Denied { wait } => {
                let Standing { policy, limit } = self.standing(0);
                Err(Rejection::new(Code::RateLimited)
                    .message(format!("At most {} requests a minute are allowed.", self.requests))
                    .because(format!("over the {}'s limit of requests a minute", self.name))
                    .retry_after(whole_seconds(wait))
                    .header(RATELIMIT_POLICY, policy)
                    .header(RATELIMIT, limit))
            }
            BucketVerdict::Full => Err(Rejection::new(Code::ServiceUnavailable)
                .because("as many callers are rate-limited as can be told apart")
                .header(RATELIMIT_POLICY, self.policy.clone())),
        }
    }

    fn standing(&self, remaining: u32) -> Standing {
        let requests = u64::from(self.requests.get());
        let used = requests.saturating_sub(u64::from(remaining));
        let reset = (used * WINDOW).div_ceil(requests);
        Standing {
            policy: self.policy.clone(),
            limit: field(&format!("\"{}\";r={remaining};t={reset}", self.name)),
        }
    }
}

fn policy(name: &str, requests: NonZeroU32) -> HeaderValue {
    field(&format!("\"{name}\";q={requests};w={WINDOW}"))
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

/// Rounds up, and never 0: who comes back at that time is let in.
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
    use crate::principal::{Allowance, Authenticated};

    async fn hello(_: Request<Authenticated<()>>) -> Result<Response<String>, Infallible> {
        Ok(Response::builder()
            .header("ratelimit", "\"upstream\";r=9;t=9")
            .body("hi".into())
            .unwrap())
    }

    async fn send(layer: &RateLimitLayer, user: &str) -> Response<RefusedOr<String>> {
        send_as(layer, Principal::new(UserId::parse(user).unwrap())).await
    }

    async fn send_as(layer: &RateLimitLayer, caller: Principal) -> Response<RefusedOr<String>> {
        let request = Request::new(Authenticated::new(caller, ()));
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

    #[tokio::test(start_paused = true)]
    async fn a_client_session_has_its_own_limit_and_a_service_has_none() {
        let ada = UserId::parse("ada").unwrap();
        let session = |id: &str| {
            let allowance = Allowance::new(id, NonZeroU32::new(2).unwrap());
            Principal::with_allowance(ada.clone(), allowance)
        };
        for general in [0, 1] {
            let layer = RateLimitLayer::per_minute(general);
            let response = send_as(&layer, session("one")).await;
            assert_eq!(fields(&response), (200, "\"session\";r=1;t=30", None));
            assert_eq!(response.headers()["ratelimit-policy"], "\"session\";q=2;w=60");
            assert_eq!(send_as(&layer, session("one")).await.status(), 200);
            let refused = send_as(&layer, session("one")).await;
            assert_eq!(fields(&refused), (429, "\"session\";r=0;t=60", Some("30")));
            assert_eq!(send_as(&layer, session("two")).await.status(), 200);
            // Her own requests are not counted with those of her sessions.
            assert_eq!(send(&layer, "ada").await.status(), 200);
            for _ in 0..100 {
                let service = Principal::service(ada.clone());
                assert_eq!(send_as(&layer, service).await.status(), 200);
            }
        }
    }
}
