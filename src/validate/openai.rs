//! The OpenAI-compatible API: target, query and body → [`OpenAiCall`].

use std::fmt;
use std::num::NonZeroU32;

use bytes::Bytes;
use serde_json::{Value, json};

use super::reader::Reader;
use super::report::Report;
use super::{parse as bodies, query};
use crate::principal::UserId;
use crate::rejection::{Code, Rejection};
use crate::route::{Operation, Target};

/// How long a client session lasts unless it says so, in seconds. It is the most, too.
const DEFAULT_SECONDS: u64 = 600;

/// A client session's requests a minute unless it says so.
const DEFAULT_REQUESTS: NonZeroU32 = match NonZeroU32::new(10) {
    Some(requests) => requests,
    None => NonZeroU32::MIN,
};

/// The most that is kept of what a client session says of its workflow and configuration.
const MAX_DETAILS_BYTES: usize = 64 * 1024;

/// The items of a page unless the query says so.
const DEFAULT_LIMIT: u64 = 20;

/// The most items of a page.
const MAX_LIMIT: u64 = 100;

/// One operation of the OpenAI-compatible API with what it needs.
#[derive(Debug)]
#[non_exhaustive]
#[expect(missing_docs, reason = "a variant is an operation, and its fields are that table's words")]
pub enum OpenAiCall {
    CreateSession(NewClientSession),
    CancelSession { session: Box<str> },
    ListThreads { user: Option<UserId>, page: ListPage },
    GetThread { thread: Box<str> },
    DeleteThread { thread: Box<str> },
    ListItems { thread: Box<str>, page: ListPage },
}

/// A client session that is asked for.
#[non_exhaustive]
pub struct NewClientSession {
    /// Whom it is for.
    pub user: UserId,
    /// How long it lasts, in seconds.
    pub seconds: u64,
    /// Its requests a minute.
    pub requests_per_minute: NonZeroU32,
    /// `workflow` and `chatkit_configuration` with their defaults, as a JSON object. `Debug` leaves
    /// it out.
    pub details: String,
}

impl fmt::Debug for NewClientSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewClientSession")
            .field("user", &self.user)
            .field("seconds", &self.seconds)
            .field("requests_per_minute", &self.requests_per_minute)
            .finish_non_exhaustive()
    }
}

/// Which part of a list is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListPage {
    /// The most that are shown, at most 100.
    pub limit: usize,
    /// The oldest first; else the newest.
    pub ascending: bool,
    /// What comes after this id.
    pub after: Option<String>,
    /// What comes before this id.
    pub before: Option<String>,
}

pub(crate) fn parse(
    rules: &Reader,
    target: &Target,
    query: Option<&str>,
    body: &Bytes,
) -> Result<OpenAiCall, Rejection> {
    let thread = || Box::from(target.thread().unwrap_or_default());
    match target.operation() {
        Operation::OpenAiCreateSession => {
            let value = bodies::checked(rules, Operation::OpenAiCreateSession, body)?;
            Ok(OpenAiCall::CreateSession(new_session(&value)?))
        }
        // Its body, if there is one, says nothing.
        Operation::OpenAiCancelSession => {
            Ok(OpenAiCall::CancelSession { session: target.session().unwrap_or_default().into() })
        }
        Operation::OpenAiListThreads => {
            let names = ["after", "before", "limit", "order", "user"];
            let (value, page) = page(rules, target.operation(), query, &names)?;
            let user = match text(&value, "user") {
                Some(user) => Some(user_id(&user).map_err(query_fault)?),
                None => None,
            };
            Ok(OpenAiCall::ListThreads { user, page })
        }
        Operation::OpenAiListItems => {
            let names = ["after", "before", "limit", "order"];
            let (_, page) = page(rules, target.operation(), query, &names)?;
            Ok(OpenAiCall::ListItems { thread: thread(), page })
        }
        Operation::OpenAiGetThread => Ok(OpenAiCall::GetThread { thread: thread() }),
        Operation::OpenAiDeleteThread => Ok(OpenAiCall::DeleteThread { thread: thread() }),
        _ => Err(Rejection::new(Code::Internal)),
    }
}

/// What the schema let pass, with the defaults of what is absent or null.
fn new_session(value: &Value) -> Result<NewClientSession, Report> {
    let at = |pointer: &str| value.pointer(pointer).filter(|value| !value.is_null());
    let or = |pointer: &str, default: Value| at(pointer).cloned().unwrap_or(default);
    let requests = at("/rate_limits/max_requests_per_1_minute").and_then(Value::as_u64);
    let requests = requests.and_then(|requests| u32::try_from(requests).ok());
    let of = "/chatkit_configuration";
    let details = json!({
        "workflow": {
            "id": or("/workflow/id", Value::Null),
            "version": or("/workflow/version", Value::Null),
            "state_variables": or("/workflow/state_variables", Value::Null),
            "tracing": {"enabled": or("/workflow/tracing/enabled", true.into())},
        },
        "chatkit_configuration": {
            "automatic_thread_titling": {
                "enabled": or(&format!("{of}/automatic_thread_titling/enabled"), true.into()),
            },
            "file_upload": {
                "enabled": or(&format!("{of}/file_upload/enabled"), false.into()),
                "max_file_size": or(&format!("{of}/file_upload/max_file_size"), 512.into()),
                "max_files": or(&format!("{of}/file_upload/max_files"), 10.into()),
            },
            "history": {
                "enabled": or(&format!("{of}/history/enabled"), true.into()),
                "recent_threads": or(&format!("{of}/history/recent_threads"), Value::Null),
            },
        },
    });
    let details = details.to_string();
    if details.len() > MAX_DETAILS_BYTES {
        // Nothing else that is kept may be so long.
        let pointer = "/workflow/state_variables";
        return Err(Report::one(pointer, "must not be so large: a session keeps 64 KiB"));
    }
    Ok(NewClientSession {
        user: user_id(at("/user").and_then(Value::as_str).unwrap_or_default())?,
        seconds: at("/expires_after/seconds").and_then(Value::as_u64).unwrap_or(DEFAULT_SECONDS),
        requests_per_minute: requests.and_then(NonZeroU32::new).unwrap_or(DEFAULT_REQUESTS),
        details,
    })
}

fn user_id(id: &str) -> Result<UserId, Report> {
    UserId::parse(id).map_err(|error| Report::one("/user", format!("is not a user id: {error}")))
}

/// The parameters of a list, which the schema let pass.
fn page(
    rules: &Reader,
    operation: Operation,
    query: Option<&str>,
    names: &[&str],
) -> Result<(Value, ListPage), Rejection> {
    let value = query::parse(query, names).map_err(query_fault)?;
    rules.schemas.check_query(operation, &value).map_err(query_fault)?;
    let limit = value.get("limit").and_then(Value::as_u64).unwrap_or(DEFAULT_LIMIT);
    let page = ListPage {
        limit: usize::try_from(limit.min(MAX_LIMIT)).unwrap_or_default(),
        ascending: value.get("order").and_then(Value::as_str) == Some("asc"),
        after: text(&value, "after"),
        before: text(&value, "before"),
    };
    Ok((value, page))
}

/// A parameter that is a text, whatever it looks like.
fn text(value: &Value, name: &str) -> Option<String> {
    match value.get(name)? {
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

fn query_fault(report: Report) -> Rejection {
    let message = report.violations().first().map(|violation| {
        let name = violation.pointer.trim_start_matches('/');
        format!("The parameter {name} is not what is expected: it {}.", violation.message)
    });
    let rejection = Rejection::from(report);
    match message {
        Some(message) => rejection.message(message),
        None => rejection,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::Method;

    use super::super::reader::{BodyLimits, UnknownRequests};
    use super::super::schemas::Schemas;
    use super::*;
    use crate::route::Router;
    use crate::surface::Surfaces;

    fn parsed(method: &Method, url: &str, body: &'static str) -> Result<OpenAiCall, Rejection> {
        let rules = Reader {
            schemas: Schemas::compile().unwrap().into(),
            limits: BodyLimits { body_timeout: Duration::ZERO, ..BodyLimits::default() },
            unknown: UnknownRequests::Refuse,
            buffered: None,
        };
        let router = Router::new(Operation::ALL, &Surfaces::rest("/x").with_openai("/v1")).unwrap();
        let (path, query) = url.split_once('?').map_or((url, None), |(p, q)| (p, Some(q)));
        let target = router.route(method, &format!("/v1{path}")).unwrap();
        parse(&rules, &target, query, &Bytes::from_static(body.as_bytes()))
    }

    fn session(body: &'static str) -> NewClientSession {
        match parsed(&Method::POST, "/sessions", body).unwrap() {
            OpenAiCall::CreateSession(session) => session,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_session_has_the_defaults_of_the_hosted_one() {
        for body in [
            r#"{"user":"ada","workflow":{"id":"wf_1"}}"#,
            r#"{"user":"ada","workflow":{"id":"wf_1","version":null,"tracing":null},
                "chatkit_configuration":{"history":null},"expires_after":null,"rate_limits":{}}"#,
        ] {
            let session = session(body);
            assert_eq!(session.user.as_str(), "ada");
            assert_eq!((session.seconds, session.requests_per_minute.get()), (600, 10));
            let details: Value = serde_json::from_str(&session.details).unwrap();
            assert_eq!(
                details,
                json!({
                    "workflow": {"id": "wf_1", "version": null, "state_variables": null,
                        "tracing": {"enabled": true}},
                    "chatkit_configuration": {
                        "automatic_thread_titling": {"enabled": true},
                        "file_upload": {"enabled": false, "max_file_size": 512, "max_files": 10},
                        "history": {"enabled": true, "recent_threads": null},
                    },
                })
            );
        }
    }

    #[test]
    fn what_a_session_says_is_kept() {
        let session = session(
            r#"{"user":"ö","workflow":{"id":"w","version":"2","state_variables":{"a":1,"b":true,"c":"x"},
                "tracing":{"enabled":false}},"chatkit_configuration":{"history":{"recent_threads":3},
                "file_upload":{"enabled":true,"max_files":2}},"rate_limits":{"max_requests_per_1_minute":7},
                "expires_after":{"anchor":"created_at","seconds":1}}"#,
        );
        assert_eq!((session.seconds, session.requests_per_minute.get()), (1, 7));
        let details: Value = serde_json::from_str(&session.details).unwrap();
        let at = |pointer| details.pointer(pointer).unwrap().clone();
        assert_eq!(at("/workflow/state_variables"), json!({"a": 1, "b": true, "c": "x"}));
        assert_eq!(at("/workflow/tracing/enabled"), false);
        assert_eq!(at("/chatkit_configuration/history/recent_threads"), 3);
        assert_eq!(at("/chatkit_configuration/file_upload/max_files"), 2);
        assert_eq!(at("/chatkit_configuration/file_upload/max_file_size"), 512);
    }

    #[test]
    fn what_a_session_keeps_is_bounded() {
        let body = |length: usize| {
            let long = "x".repeat(8000);
            let variables: Vec<_> = (0..length).map(|n| format!(r#""v{n}":"{long}""#)).collect();
            let variables = variables.join(",");
            let body = format!(
                r#"{{"user":"a","workflow":{{"id":"w","state_variables":{{{variables}}}}}}}"#
            );
            &*body.leak()
        };
        assert!(session(body(8)).details.len() < MAX_DETAILS_BYTES);
        let fault = parsed(&Method::POST, "/sessions", body(9)).unwrap_err();
        assert_eq!(fault.code(), Code::InvalidInput);
        assert!(format!("{fault:?}").contains("/workflow/state_variables"));
    }

    #[test]
    fn debug_shows_nothing_that_a_session_keeps() {
        let session =
            session(r#"{"user":"a","workflow":{"id":"w","state_variables":{"plan":"hidden"}}}"#);
        assert!(session.details.contains("hidden"));
        assert!(!format!("{session:?}").contains("hidden"));
    }

    #[test]
    fn a_fault_of_a_session_names_the_field() {
        for (body, code) in [
            ("", Code::InvalidJson),
            ("{}", Code::InvalidInput),
            (r#"{"user":"a","workflow":{}}"#, Code::InvalidInput),
            (r#"{"user":"a\nb","workflow":{"id":"w"}}"#, Code::InvalidInput),
            (
                r#"{"user":"a","workflow":{"id":"w"},"expires_after":{"anchor":"created_at","seconds":601}}"#,
                Code::InvalidInput,
            ),
            (
                r#"{"user":"a","workflow":{"id":"w"},"rate_limits":{"max_requests_per_1_minute":0}}"#,
                Code::InvalidInput,
            ),
            (
                r#"{"user":"a","workflow":{"id":"w","state_variables":{"x":[]}}}"#,
                Code::InvalidInput,
            ),
        ] {
            assert_eq!(
                parsed(&Method::POST, "/sessions", body).unwrap_err().code(),
                code,
                "{body}"
            );
        }
    }

    #[test]
    fn pages_are_read_from_the_query() {
        let page = |url: &str| match parsed(&Method::GET, url, "") {
            Ok(OpenAiCall::ListItems { page, thread }) => {
                assert_eq!(&*thread, "t/1");
                page
            }
            other => panic!("{other:?}"),
        };
        let default = ListPage { limit: 20, ..ListPage::default() };
        assert_eq!(page("/threads/t%2F1/items"), default);
        assert_eq!(page("/threads/t%2F1/items?user=x"), default);
        assert_eq!(
            page("/threads/t%2F1/items?limit=500&order=asc&after=7&before=true"),
            ListPage {
                limit: 100,
                ascending: true,
                after: Some("7".to_owned()),
                before: Some("true".to_owned()),
            }
        );
        assert_eq!(page("/threads/t%2F1/items?limit=0").limit, 0);
        for query in ["limit=-1", "limit=x", "order=up", "after=", "limit=1&limit=2", "before=%ff"]
        {
            let fault = parsed(&Method::GET, &format!("/threads?{query}"), "").unwrap_err();
            assert_eq!(fault.code(), Code::InvalidInput, "{query}");
        }
        let OpenAiCall::ListThreads { user, .. } =
            parsed(&Method::GET, "/threads?user=u+1", "").unwrap()
        else {
            panic!("another operation")
        };
        assert_eq!(user.unwrap().as_str(), "u 1");
        assert!(parsed(&Method::GET, "/threads?user=%0a", "").is_err());
    }
}
