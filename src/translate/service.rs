use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::LOCATION;
use http::request::Parts;
use http::{HeaderValue, Request, Response};
use http_body::Body;
use http_body_util::Full;
use tower_service::Service;

use super::body::ReplyBody;
use super::errand::Errands;
use super::layer::TranslateSettings;
use super::observer::SessionObserver;
use super::sender::Sender;
use super::unknown::Known;
use super::upstream::{Detachable, Upstream};
use super::{
    attachments, chat, count, follow_ups, history, items, openai, passthrough, reply, runs,
    sessions, transcriptions,
};
use crate::error::BoxError;
use crate::rejection::{Code, RefusalStyle, Rejection};
use crate::session::{Action, Admitted};
use crate::telemetry::Record;

/// The last segment of the path at which sessions are made, which a reference that is relative to
/// it has to repeat (RFC 3986 section 5.2.3).
const SESSIONS: &str = "sessions";

/// The translating service. See the [module's documentation](super).
#[derive(Clone, Debug)]
pub struct Translate<S> {
    settings: Arc<TranslateSettings>,
    errands: Errands,
    known: Known,
    inner: S,
}

impl<S> Translate<S> {
    pub(super) fn new(settings: Arc<TranslateSettings>, errands: Errands, inner: S) -> Self {
        Self { settings, errands, known: Known::default(), inner }
    }
}

/// What an operation comes to.
pub(super) type Reply<R> = Result<Response<ReplyBody<R, SessionObserver>>, Rejection>;

/// What an operation needs to be carried out: the upstream, and what the reply depends on.
pub(super) struct Exchange<S> {
    pub(super) upstream: Upstream<S>,
    pub(super) settings: Arc<TranslateSettings>,
    pub(super) errands: Errands,
    pub(super) record: Option<Record>,
}

impl<S, R> Service<Request<Admitted>> for Translate<S>
where
    S: Service<
            Request<Full<Bytes>>,
            Response = Response<R>,
            Future: Send,
            Error: Into<BoxError> + Send,
        > + Clone
        + Send
        + 'static,
    R: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<ReplyBody<R, SessionObserver>>;
    /// Whatever the upstream fails with becomes an answer.
    type Error = Infallible;
    /// Boxed: an operation may ask the upstream several times. It is dropped with the head, so
    /// that an open stream doesn't carry it.
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    /// Always ready: the upstream is waited for when it is asked, so that an operation that
    /// doesn't ask it needs none.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Admitted>) -> Self::Future {
        let settings = Arc::clone(&self.settings);
        let errands = self.errands.clone();
        let known = self.known.clone();
        let service = self.inner.clone();
        Box::pin(async move {
            let (head, admitted) = request.into_parts();
            let head = Arc::new(head);
            let permit = settings
                .buffered
                .as_ref()
                .map(|buffered| buffered.permit(admitted.principal().user_id()));
            match carry_out(settings, errands, known, service, &head, admitted).await {
                Ok(mut response) => {
                    response.body_mut().covered_by(permit);
                    Ok(response)
                }
                Err(rejection) => {
                    Ok(rejection.into_response(&RefusalStyle::of_parts(&head)).map(ReplyBody::from))
                }
            }
        })
    }
}

async fn carry_out<S, R>(
    settings: Arc<TranslateSettings>,
    errands: Errands,
    known: Known,
    service: S,
    head: &Arc<Parts>,
    admitted: Admitted,
) -> Reply<R>
where
    S: Detachable<R> + Clone,
    R: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let (principal, _, mut action) = admitted.into_parts();
    let record = head.extensions.get::<Record>().cloned();
    let upstream = |service: S| {
        let (settings, head) = (Arc::clone(&settings), Arc::clone(head));
        let sender = Sender::new(settings, head, principal.user_id().clone());
        Upstream { service, sender, known: known.clone() }
    };
    if let Some(claim) = count::uncounted(&mut action) {
        // Boxed: it happens once in the life of an adopted thread.
        Box::pin(count::begin(upstream(service.clone()), claim)).await?;
    }
    let context = |service: S| Exchange {
        upstream: upstream(service),
        settings: Arc::clone(&settings),
        errands: errands.clone(),
        record,
    };
    match action {
        Action::Created(session) => {
            let mut response = reply::one(reply::NewSession::from(&session))?;
            // Relative to what was asked for (RFC 9110 section 10.2.2): whoever took a part of the
            // path off on its way here, the client has all of it.
            let location = format!("{SESSIONS}/{}", session.id);
            if let Ok(location) = HeaderValue::try_from(location) {
                response.headers_mut().insert(LOCATION, location);
            }
            Ok(response)
        }
        Action::Listed(page) => reply::sessions(&page),
        Action::Thread(session) => reply::one(reply::Thread::from(&session)),
        Action::Threads(session) => reply::list(vec![reply::Thread::from(&session)]),
        Action::Get(session) => sessions::get(context(service), session).await,
        Action::Update(session, title) => sessions::update(context(service), session, title).await,
        Action::Delete(session, claim) => sessions::delete(context(service), session, claim).await,
        Action::Run(claim, run) => runs::create(context(service), claim, run).await,
        Action::Chat(claim, id, run) => Box::pin(chat::ask(context(service), claim, id, run)).await,
        Action::Conversations(page) => history::list(&page),
        Action::Passthrough(call, effect) => {
            passthrough::pass(context(service), call, effect).await
        }
        Action::OpenAi(action) => {
            let exchange = openai::Exchange {
                service,
                settings: Arc::clone(&settings),
                errands: errands.clone(),
                head: Arc::clone(head),
            };
            // Boxed, so that the other operations' futures don't have room for it.
            Box::pin(openai::carry_out(exchange, action)).await
        }
        // In a box of its own, for the same reason.
        action => Box::pin(rest(context(service), action)).await,
    }
}

/// What is neither about a session nor a run with a message.
async fn rest<S, R>(exchange: Exchange<S>, action: Action) -> Reply<R>
where
    S: Detachable<R>,
    R: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    match action {
        Action::GetThread(session) => items::thread(exchange, session).await,
        Action::ListItems(_, thread, page) => items::list(exchange, thread, page).await,
        Action::Feedback(_, thread, feedback) => items::feedback(exchange, thread, feedback).await,
        Action::FollowUp(claim, follow_up) => follow_ups::go_on(exchange, claim, follow_up).await,
        Action::SyncAction(_, thread, action) => follow_ups::act(exchange, thread, action).await,
        Action::CreateAttachment(attachments, params) => {
            attachments::create(exchange, attachments, params).await
        }
        Action::DeleteAttachment(attachments, id) => {
            attachments::delete(exchange, attachments, id).await
        }
        Action::Conversation(conversation, after) => {
            history::show(exchange, conversation, after).await
        }
        Action::Transcribe(call) => transcriptions::create(exchange, call).await,
        _ => Err(Rejection::new(Code::Internal)),
    }
}
