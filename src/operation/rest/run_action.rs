//! Carries out an action of a widget's, or of the client's own: as a run, or with `sync=true` for the
//! item that it leaves.

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::chatkit::upstream::UpstreamFailure;
use crate::chatkit::{ChatKit, ChatKitBody, envelope, threads};
use crate::operation::extra::{self, check_extra};
use crate::operation::follow_up::{self, Want};
use crate::operation::reply;
use crate::operation::run::{self, RunRequest};
use crate::operation::{Exchange, Gives, Operation, Read, Reply, Row, Takes};
use crate::principal::Principal;
use crate::protocol::RequestType;
use crate::rejection::{Code, Rejection};
use crate::session::ThreadPath;
use crate::session::{Desk, Granted, Needs, OwnedThread, RunClaim, SessionId};
use crate::stream::Object;
use crate::surface::Surface;
use crate::validate::Report;
use crate::validate::json::Shape;
use crate::validate::negotiate::{self, RunFormat};

pub(crate) struct RunAction;

pub(crate) struct Call {
    path: ThreadPath,
    /// An object with a `type`, as it was written.
    action: Box<RawValue>,
    /// The item that it comes from.
    item: Option<Box<str>>,
    way: Way,
}

/// How an action is answered.
#[derive(Clone, Copy)]
enum Way {
    Run(RunFormat),
    Sync,
}

/// The right to carry an action out in the way that was asked for.
pub(crate) enum Grant {
    Run(RunClaim, RunFormat),
    Sync(OwnedThread),
}

impl Granted for Grant {
    fn session_id(&self) -> Option<SessionId> {
        match self {
            Self::Run(claim, _) => Some(claim.session_id()),
            Self::Sync(thread) => Some(thread.session()),
        }
    }
}

impl Operation for RunAction {
    const ROW: Row = Row {
        name: "run_action",
        surface: Surface::Rest,
        method: Method::POST,
        path: "/sessions/{session_id}/threads/{thread_id}/actions",
        takes: Takes::Json,
        gives: Gives::Run,
        asks_upstream: true,
        may_be_foreign: true,
        refuses: &[Code::SessionNotFound, Code::ItemNotFound],
        tag: "Runs",
        summary: "Carry out an action",
        description: "What a widget's button does. With `sync=true` it is answered with what the action \
             returns, in place of a run.",
        links: &[],
    };

    type Call = Call;
    type Grant = Grant;

    fn parse(read: &Read<'_>) -> Result<Call, Rejection> {
        let parsed = read.parts(&SHAPE)?;
        check_extra(&parsed.value, &extra::ACTED, &[])?;
        let ActionBody { action, item_id, stream } = read.typed()?;
        let way = way_of(read, stream)?;
        let item = item_id.map(String::into_boxed_str);
        Ok(Call { path: read.thread_path(), action: action.to_owned(), item, way })
    }

    async fn admit(desk: &Desk, principal: &Principal, call: &Call) -> Result<Grant, Rejection> {
        let needs = needs_of(call.item.as_deref());
        match call.way {
            Way::Run(format) => {
                let kind = RequestType::ThreadsCustomAction;
                let claim = desk.begin_without_message(principal, &call.path, needs, kind).await?;
                Ok(Grant::Run(claim, format))
            }
            Way::Sync => desk.bound_thread(principal, &call.path, needs).await.map(Grant::Sync),
        }
    }

    async fn answer<S: ChatKit<R>, R: ChatKitBody>(
        exchange: Exchange<S>,
        grant: Grant,
        call: Call,
    ) -> Reply<R> {
        let Call { action, item, .. } = call;
        match grant {
            Grant::Run(claim, format) => {
                let kind = RequestType::ThreadsCustomAction;
                let thread_id = follow_up::thread_of(&claim)?;
                let request = envelope::action(kind, thread_id, item.as_deref(), &action);
                drop(action);
                let want = Want { kind, needs: needs_of(item.as_deref()), item };
                run::answer(exchange, claim, RunRequest::wanting(request, want), format).await
            }
            Grant::Sync(thread) => act(exchange, &thread, &action, item).await,
        }
    }
}

/// Has an action carried out that is no run.
async fn act<S: ChatKit<R>, R: ChatKitBody>(
    mut exchange: Exchange<S>,
    thread: &OwnedThread,
    action: &RawValue,
    item: Option<Box<str>>,
) -> Reply<R> {
    let kind = RequestType::ThreadsSyncCustomAction;
    let request = envelope::action(kind, thread.id(), item.as_deref(), action);
    let answer = match exchange.upstream.json(request).await {
        Ok(answer) => answer,
        Err(failure) => {
            let want = Want { kind, needs: needs_of(item.as_deref()), item };
            let upstream = &mut exchange.upstream;
            return Err(follow_up::refusal(upstream, thread.id(), &want, failure).await);
        }
    };
    exchange.upstream.known.saw(kind);
    let acted = threads::object(&answer);
    let item = acted.as_ref().map(|acted| acted.get("updated_item"));
    let Some(item) = item.filter(|item| item.is_none_or(|item| Object::of(item).is_some())) else {
        let what = "the upstream's answer to an action is not one";
        return Err(UpstreamFailure::Protocol(what).into());
    };
    let offset = exchange.settings.utc_offset;
    let updated_item = item.and_then(|item| threads::visible(item, offset));
    reply::one(Acted { updated_item })
}

/// What is any JSON is passed on without a look.
static SHAPE: Shape = Shape::Object(&[("action", Shape::Object(&[("payload", Shape::Raw)]))]);

#[derive(Deserialize)]
struct ActionBody<'a> {
    #[serde(borrow)]
    action: &'a RawValue,
    #[serde(default)]
    item_id: Option<String>,
    #[serde(default)]
    stream: Option<bool>,
}

/// Reads from the query, or else from `stream` and `Accept`, how the answer is wanted.
fn way_of(read: &Read<'_>, stream: Option<bool>) -> Result<Way, Rejection> {
    let query = read.query(&["sync"])?;
    if query.get("sync").and_then(Value::as_bool) != Some(true) {
        return Ok(Way::Run(negotiate::run_format(stream, read.headers())));
    }
    if stream == Some(true) {
        let message = "must not be true with ?sync=true, which is answered in JSON";
        return Err(Report::one("/stream", message).into());
    }
    negotiate::json_only(read.headers())?;
    Ok(Way::Sync)
}

/// Says what an action takes: the widget that it comes from, if it comes from one.
fn needs_of(item: Option<&str>) -> Needs {
    if item.is_some() { Needs::Widget } else { Needs::Thread }
}

/// What an action that is no run left behind.
#[derive(Serialize)]
struct Acted {
    updated_item: Option<Box<RawValue>>,
}
