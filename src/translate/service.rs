//! [`Action`] → the exchanges with the upstream, and the reply.

use std::sync::Arc;

use bytes::Bytes;
use http::header::LOCATION;
use http::request::Parts;
use http::{HeaderValue, Response};
use http_body::Body;

use super::body::ReplyBody;
use super::errand::Errands;
use super::observer::SessionObserver;
use super::sender::Sender;
use super::settings::TranslateSettings;
use super::unknown::Known;
use super::upstream::{Detachable, Upstream};
use super::{
    attachments, chat, count, follow_ups, history, items, openai, passthrough, reply, runs,
    sessions, transcriptions,
};
use crate::error::BoxError;
use crate::principal::Principal;
use crate::rejection::{Code, Rejection};
use crate::session::Action;
use crate::telemetry::Record;

/// The last segment of the path at which sessions are made, which a reference that is relative to
/// it has to repeat (RFC 3986 section 5.2.3).
const SESSIONS: &str = "sessions";

/// What an operation comes to.
pub(crate) type Reply<R> = Result<Response<ReplyBody<R, SessionObserver>>, Rejection>;

/// What an operation needs to be carried out: the upstream, and what the reply depends on.
pub(crate) struct Exchange<S> {
    pub(crate) upstream: Upstream<S>,
    pub(crate) settings: Arc<TranslateSettings>,
    pub(crate) errands: Errands,
    pub(crate) record: Option<Record>,
}

pub(crate) async fn carry_out<S, R>(
    settings: Arc<TranslateSettings>,
    errands: Errands,
    known: Known,
    service: S,
    head: &Arc<Parts>,
    principal: Principal,
    mut action: Action,
) -> Reply<R>
where
    S: Detachable<R> + Clone,
    R: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let record = head.extensions.get::<Record>().cloned();
    let upstream = |service: S| {
        let (settings, head) = (Arc::clone(&settings), Arc::clone(head));
        let sender = Sender::new(settings, head, principal.user_id().clone());
        Upstream { service, sender, known: known.clone() }
    };
    if let Some(claim) = count::uncounted(&mut action) {
        // It happens once in the life of an adopted thread.
        Box::pin(count::begin(upstream(service.clone()), claim)).await?;
    }
    let context = |service: S| Exchange {
        upstream: upstream(service),
        settings: Arc::clone(&settings),
        errands: errands.clone(),
        record,
    };
    // Each in a box of its own: none has room for another, and all are moved into the one that is
    // returned.
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
        Action::Get(session) => Box::pin(sessions::get(context(service), session)).await,
        Action::Update(session, title) => {
            Box::pin(sessions::update(context(service), session, title)).await
        }
        Action::Delete(session, claim) => {
            Box::pin(sessions::delete(context(service), session, claim)).await
        }
        Action::Run(claim, run) => Box::pin(runs::create(context(service), claim, &run)).await,
        Action::Chat(claim, id, run) => Box::pin(chat::ask(context(service), claim, id, run)).await,
        Action::Conversations(page) => history::list(&page),
        Action::Passthrough(call, effect) => {
            Box::pin(passthrough::pass(context(service), call, effect)).await
        }
        Action::OpenAi(action) => {
            let exchange = openai::Exchange {
                service,
                settings: Arc::clone(&settings),
                errands: errands.clone(),
                head: Arc::clone(head),
            };
            Box::pin(openai::carry_out(exchange, action)).await
        }
        Action::FollowUp(claim, follow_up) => {
            Box::pin(follow_ups::go_on(context(service), claim, follow_up)).await
        }
        action => Box::pin(rest(context(service), action)).await,
    }
}

/// What is neither about a session nor a run.
async fn rest<S, R>(exchange: Exchange<S>, action: Action) -> Reply<R>
where
    S: Detachable<R>,
    R: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    match action {
        Action::GetThread(session, cursors) => items::thread(exchange, session, cursors).await,
        Action::ListItems(_, thread, page, cursors) => {
            items::list(exchange, thread, page, cursors).await
        }
        Action::Feedback(_, thread, feedback) => items::feedback(exchange, thread, feedback).await,
        Action::SyncAction(_, thread, action) => follow_ups::act(exchange, thread, action).await,
        Action::CreateAttachment(attachments, params) => {
            attachments::create(exchange, attachments, params).await
        }
        Action::DeleteAttachment(attachments, id) => {
            attachments::delete(exchange, attachments, id).await
        }
        Action::Conversation(conversation, after, cursors) => {
            history::show(exchange, conversation, after, cursors).await
        }
        Action::Transcribe(call) => transcriptions::create(exchange, call).await,
        _ => Err(Rejection::new(Code::Internal)),
    }
}
