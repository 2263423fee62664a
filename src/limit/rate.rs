//! Requests of one user in a minute.

use std::fmt;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response};
use pin_project_lite::pin_project;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tower_layer::Layer;
use tower_service::Service;

use super::bucket::{BucketVerdict, Buckets};
use super::shared::{Asked, SharedBuckets, SharedVerdict};
use crate::allowance::{AllowanceKey, Allowances};
use crate::principal::{Identified, Principal, UserId};
use crate::rejection::{Code, RefusalStyle, RefusedOr, Rejection};

/// How many users are told apart at once, unless configured.
pub const MAX_USERS: usize = 100_000;

/// How long whoever is about to end waits until what it holds is given back.
const GIVE_BACK_TIMEOUT: Duration = Duration::from_secs(2);

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
    max_users: usize,
    shared: Option<Arc<Shared>>,
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
        Self { limit, sessions: Arc::new(Buckets::new(max_users)), max_users, shared: None }
    }

    /// Counts together with all who do so by the same `source`: the limits, client sessions' own too, hold over
    /// all of them, and in any minute. What [`per_minute`](Self::per_minute) says of GCRA holds no more: each
    /// request is given back a minute after it.
    ///
    /// Of a user's limit a tenth at a time is taken ahead. That is asked for when little is left of the tenth before, so a
    /// request waits for the source if there is none, as with a user's first, and for one call of it if others
    /// don't take what it brings. A request may be refused by as much as others hold and don't use, for a tenth of
    /// a minute; see [`allowance`](crate::allowance).
    ///
    /// Who can't be counted because the source fails is answered with 503. What a gateway lets in then would be
    /// above the limit by as much as there are gateways, and with a source that is the session store there is
    /// little that it could let in.
    #[must_use]
    pub fn with_shared(self, source: Arc<dyn Allowances>) -> Self {
        let of = |source| Arc::new(SharedBuckets::new(source, self.max_users));
        let shared = Shared { users: of(Arc::clone(&source)), sessions: of(source) };
        Self { shared: Some(Arc::new(shared)), ..self }
    }

    /// Gives back what is held of limits that are [shared](Self::with_shared), for a process that is about to
    /// end: whatever it doesn't give back is refused to others for 66 s. Goes on for two seconds at most. Who asks
    /// afterwards is counted as ever.
    pub async fn give_back(&self) {
        if let Some(shared) = &self.shared {
            let all = async {
                shared.users.give_back().await;
                shared.sessions.give_back().await;
            };
            if timeout(GIVE_BACK_TIMEOUT, all).await.is_err() {
                tracing::debug!("gave up giving back of shared limits");
            }
        }
    }
}

/// Limits that gateways share.
#[derive(Debug)]
struct Shared {
    users: Arc<SharedBuckets>,
    sessions: Arc<SharedBuckets>,
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimit<S>;

    fn layer(&self, inner: S) -> RateLimit<S> {
        let sessions = Arc::clone(&self.sessions);
        RateLimit { inner, limit: self.limit.clone(), sessions, shared: self.shared.clone() }
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
    shared: Option<Arc<Shared>>,
}

impl<S> RateLimit<S> {
    /// Tells where the caller stands after this request; `None` for one that nothing limits.
    fn check(&self, caller: &Principal) -> Result<Option<Standing>, Rejection> {
        if let Some(allowance) = caller.allowance() {
            let requests = allowance.requests_per_minute();
            let quota = Quota { requests, policy: policy(SESSION, requests), name: SESSION };
            return quota.judge(self.sessions.take(allowance.session(), requests)).map(Some);
        }
        match &self.limit {
            Some(limit) if !caller.is_service() => limit.check(caller.user_id()).map(Some),
            _ => Ok(None),
        }
    }
}

impl Shared {
    /// Does what [`RateLimit::check`] does, now or later.
    fn check(&self, limit: Option<&Limit>, caller: &Principal) -> Option<(Quota, Asked)> {
        if let Some(allowance) = caller.allowance() {
            let requests = allowance.requests_per_minute();
            let quota = Quota { requests, policy: policy(SESSION, requests), name: SESSION };
            let key = AllowanceKey::ClientSession(Arc::clone(allowance.session()));
            return Some((quota, self.sessions.take(&key, requests)));
        }
        let quota = limit.filter(|_| !caller.is_service())?.quota.clone();
        let key = AllowanceKey::User(caller.user_id().clone());
        let asked = self.users.take(&key, quota.requests);
        Some((quota, asked))
    }
}

impl<S, B, R> Service<Request<B>> for RateLimit<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    B: Identified,
{
    type Response = Response<RefusedOr<R>>;
    type Error = S::Error;
    type Future = RateLimitFuture<S, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let caller = request.body().principal();
        let checked = match &self.shared {
            None => self.check(caller),
            Some(shared) => match shared.check(self.limit.as_deref(), caller) {
                None => Ok(None),
                Some((quota, Asked::Verdict(verdict))) => quota.judge_shared(verdict).map(Some),
                Some((quota, Asked::Later(verdict))) => {
                    // The service that was found ready is the one that is called (tower#547).
                    let clone = self.inner.clone();
                    let inner = std::mem::replace(&mut self.inner, clone);
                    let pending = Some(Box::new(Pending { request, inner, quota }));
                    return RateLimitFuture { state: State::Asked { verdict, pending } };
                }
            },
        };
        let state = match checked {
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
#[derive(Clone, Debug)]
struct Quota {
    name: &'static str,
    requests: NonZeroU32,
    policy: HeaderValue,
}

impl Quota {
    fn judge(&self, verdict: BucketVerdict) -> Result<Standing, Rejection> {
        match verdict {
            BucketVerdict::Allowed { remaining } => {
                let requests = u64::from(self.requests.get());
                let used = requests.saturating_sub(u64::from(remaining));
                Ok(self.standing(remaining, (used * WINDOW).div_ceil(requests)))
            }
            BucketVerdict::Denied { wait } => {
                let Standing { policy, limit } = self.standing(0, WINDOW);
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

    fn judge_shared(&self, verdict: SharedVerdict) -> Result<Standing, Rejection> {
        match verdict {
            // This request is given back after the whole window.
            SharedVerdict::Known(BucketVerdict::Allowed { remaining }) => {
                Ok(self.standing(remaining.min(self.requests.get() - 1), WINDOW))
            }
            SharedVerdict::Known(verdict) => self.judge(verdict),
            SharedVerdict::Unknown(why) => Err(Rejection::new(Code::ServiceUnavailable)
                .because(why.to_string())
                .header(RATELIMIT_POLICY, self.policy.clone())),
        }
    }

    fn standing(&self, remaining: u32, reset: u64) -> Standing {
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
    pub struct RateLimitFuture<S: Service<Request<B>>, B> {
        #[pin]
        state: State<S, B>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S: Service<Request<B>>, B> {
        // Boxed, so that those who needn't wait don't carry it.
        Asked { verdict: oneshot::Receiver<SharedVerdict>, pending: Option<Box<Pending<S, B>>> },
        Inner { #[pin] future: S::Future, standing: Option<Standing> },
        Refused { refusal: Option<(Rejection, RefusalStyle)> },
    }
}

/// A request that waits for what others have left, and the service to be asked then.
struct Pending<S, B> {
    request: Request<B>,
    inner: S,
    quota: Quota,
}

impl<S, B, R> Future for RateLimitFuture<S, B>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Output = Result<Response<RefusedOr<R>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProjection::Asked { verdict, pending } => {
                    // Polled again after the end: there is nothing more to come.
                    if pending.is_none() {
                        return Poll::Pending;
                    }
                    let verdict = ready!(Pin::new(verdict).poll(cx));
                    let Some(pending) = pending.take() else { return Poll::Pending };
                    let Pending { request, mut inner, quota } = *pending;
                    let verdict = verdict.unwrap_or_else(|_| {
                        SharedVerdict::Unknown("a shared limit was not told".into())
                    });
                    match quota.judge_shared(verdict) {
                        Ok(standing) => {
                            let standing = Some(standing);
                            State::Inner { future: inner.call(request), standing }
                        }
                        Err(rejection) => {
                            let refusal = Some((rejection, RefusalStyle::of(&request)));
                            State::Refused { refusal }
                        }
                    }
                }
                StateProjection::Inner { future, standing } => {
                    let mut response = ready!(future.poll(cx))?;
                    if let Some(standing) = standing.take() {
                        standing.put(response.headers_mut());
                    }
                    return Poll::Ready(Ok(RefusedOr::pass(response)));
                }
                StateProjection::Refused { refusal } => {
                    let Some((rejection, style)) = refusal.take() else { return Poll::Pending };
                    return Poll::Ready(Ok(RefusedOr::refuse(rejection, &style)));
                }
            };
            this.state.set(next);
        }
    }
}

impl<S: Service<Request<B>>, B> fmt::Debug for RateLimitFuture<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitFuture").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
