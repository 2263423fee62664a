//! The messages of a thread that was adopted: counted before its first run, so that a limit of
//! messages holds for those that the gateway never saw.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use tokio::time::timeout;
use tower_service::Service;

use super::threads::{self, PAGE_ROWS};
use super::upstream::{Upstream, UpstreamFailure};
use super::{envelope, messages};
use crate::error::BoxError;
use crate::rejection::Rejection;
use crate::session::{Needs, RunClaim};

/// The most pages that are read where there is a limit: 100 000 items.
const MAX_PAGES: usize = 1000;

/// The same where there is none, and how long the run waits for them.
const MAX_PAGES_SOON: usize = 10;
const SOON: Duration = Duration::from_secs(2);

/// Begins a run whose thread's messages are to be counted for that; one that is begun already stays
/// as it is.
pub(crate) async fn before<S, R>(
    upstream: &mut Upstream<S>,
    claim: &mut RunClaim,
) -> Result<(), Rejection>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    if claim.to_count().is_none() {
        return Ok(());
    }
    // Boxed: it happens once in the life of an adopted thread.
    Box::pin(begin(upstream, claim)).await
}

/// Counts them, and begins the run.
///
/// Where there is a limit, whether it is reached is to be known, and no more: where it is, the rest is
/// not counted. Where there is none, a thread whose messages can't be counted soon is no obstacle, and
/// is not tried again once something was said in it.
async fn begin<S, R>(upstream: &mut Upstream<S>, claim: &mut RunClaim) -> Result<(), Rejection>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let Some(thread_id) = claim.to_count().cloned() else { return Ok(()) };
    let messages = match claim.to_stay_below() {
        Some(limit) => match upstream.messages(&thread_id, Some(limit), MAX_PAGES).await {
            Ok(CountOutcome::All(messages)) => Some(messages),
            Ok(CountOutcome::Enough) => return Err(claim.refuse_as_full()),
            Err(failure) => {
                return Err(upstream.refusal_about(&thread_id, Needs::Thread, failure).await);
            }
        },
        None if claim.was_begun_uncounted() => None,
        None => upstream.messages_soon(&thread_id).await,
    };
    claim.begin_counted(messages).await
}

/// How many messages a thread has.
#[derive(Debug, PartialEq, Eq)]
enum CountOutcome {
    All(u64),
    /// As many as were asked for, and there may be more.
    Enough,
}

impl<S, R> Upstream<S>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    /// Counts them where nothing hangs on it: none if it takes long, or fails.
    async fn messages_soon(&mut self, thread_id: &str) -> Option<u64> {
        let counting = self.messages(thread_id, None, MAX_PAGES_SOON);
        match timeout(SOON, counting).await {
            Ok(Ok(CountOutcome::All(messages))) => Some(messages),
            Ok(Ok(CountOutcome::Enough) | Err(_)) | Err(_) => None,
        }
    }

    /// Counts a thread's messages. One page of its items is kept at a time.
    async fn messages(
        &mut self,
        thread_id: &str,
        enough: Option<u64>,
        max_pages: usize,
    ) -> Result<CountOutcome, UpstreamFailure> {
        let mut counted = 0;
        let mut cursors = HashSet::new();
        let mut after: Option<String> = None;
        for _ in 0..max_pages {
            let request = envelope::page(Some(thread_id), PAGE_ROWS, true, after.as_deref());
            let reply = self.json(request).await?;
            let page = threads::page(&reply)?;
            counted +=
                page.data.iter().map(|item| u64::from(messages::is_message(item))).sum::<u64>();
            let Some(next) = page.next() else { return Ok(CountOutcome::All(counted)) };
            if enough.is_some_and(|enough| counted >= enough) {
                return Ok(CountOutcome::Enough);
            }
            if !cursors.insert(next.to_owned()) {
                return Err(UpstreamFailure::Protocol("the upstream's cursor goes round"));
            }
            after = Some(next.to_owned());
        }
        Err(UpstreamFailure::Protocol("the upstream's items don't end"))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http::HeaderValue;
    use tokio::time::{Instant, sleep};
    use tower::service_fn;

    use super::*;

    /// Gives an upstream that takes so long for each page of two messages, of which there are so
    /// many, and counts those that it is asked for.
    fn upstream(
        pages: usize,
        each: Duration,
        asked: Arc<AtomicUsize>,
    ) -> Upstream<
        impl Service<Request<Full<Bytes>>, Response = Response<Full<Bytes>>, Error = Infallible>,
    > {
        let service = service_fn(move |_: Request<Full<Bytes>>| {
            let page = asked.fetch_add(1, Ordering::SeqCst) + 1;
            async move {
                sleep(each).await;
                let answer = serde_json::json!({
                    "data": [{"type": "user_message"}, {"type": "assistant_message"}],
                    "has_more": page < pages,
                    "after": page.to_string(),
                });
                let mut response = Response::new(Full::new(Bytes::from(answer.to_string())));
                let json = HeaderValue::from_static("application/json");
                response.headers_mut().insert(http::header::CONTENT_TYPE, json);
                Ok(response)
            }
        });
        Upstream::of(service)
    }

    #[tokio::test(start_paused = true)]
    async fn where_nothing_hangs_on_it_counting_ends_soon() {
        let second = Duration::from_secs(1);
        for (pages, each, counted, asked_for, took) in [
            (10, second / 100, Some(20), 10, second / 10),
            (11, second / 100, None, 10, second / 10),
            (usize::MAX, Duration::ZERO, None, 10, Duration::ZERO),
            (3, 3 * second / 2, None, 2, 2 * second),
            (1, 3600 * second, None, 1, 2 * second),
        ] {
            let asked = Arc::<AtomicUsize>::default();
            let begun = Instant::now();
            let messages = upstream(pages, each, Arc::clone(&asked)).messages_soon("thr_1").await;
            let took_at_most = took + second / 10;
            assert_eq!((messages, asked.load(Ordering::SeqCst)), (counted, asked_for), "{pages}");
            assert!((took..took_at_most).contains(&begun.elapsed()), "{pages}");
        }
    }

    #[tokio::test]
    async fn what_is_enough_ends_counting() {
        for (pages, limit, counted, asked_for) in [
            (30_000, 10, Some(CountOutcome::Enough), 5),
            (30_000, 9, Some(CountOutcome::Enough), 5),
            (5, 10, Some(CountOutcome::All(10)), 5),
            (5, 11, Some(CountOutcome::All(10)), 5),
            (30_000, 1_000_000, None, MAX_PAGES),
        ] {
            let asked = Arc::<AtomicUsize>::default();
            let mut upstream = upstream(pages, Duration::ZERO, Arc::clone(&asked));
            let found = upstream.messages("thr_1", Some(limit), MAX_PAGES).await.ok();
            assert_eq!((found, asked.load(Ordering::SeqCst)), (counted, asked_for), "{limit}");
        }
    }
}
