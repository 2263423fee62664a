//! Makes a client session, and the secret with which a browser acts for its user.

use std::num::NonZeroU32;

use http::Method;
use serde_json::{Value, json};

use super::client_session::show;
use super::user_id;
use crate::chatkit::{ChatKit, ChatKitBody};
use crate::operation::{Exchange, Gives, Operation, Read, Reply, Row, Takes};
use crate::principal::Principal;
use crate::rejection::{Code, Rejection};
use crate::session::{Desk, NewClientSession, SignedSession};
use crate::surface::Surface;
use crate::validate::Report;

/// How long a client session lasts unless it says so, in seconds. It is the most, too.
const DEFAULT_SECONDS: u64 = 600;

/// A client session's requests a minute unless it says so.
const DEFAULT_REQUESTS: NonZeroU32 = match NonZeroU32::new(10) {
    Some(requests) => requests,
    None => NonZeroU32::MIN,
};

/// The most that is kept of what a client session says of its workflow and configuration.
const MAX_DETAILS_BYTES: usize = 64 * 1024;

pub(crate) struct CreateSession;

impl Operation for CreateSession {
    const ROW: Row = Row {
        name: "openai_create_session",
        surface: Surface::OpenAi,
        method: Method::POST,
        path: "/sessions",
        takes: Takes::Json,
        gives: Gives::Json,
        asks_upstream: false,
        may_be_foreign: false,
        refuses: &[Code::UserBlocked],
        tag: "OpenAI",
        summary: "Make a client secret",
        description: "A short-lived bearer token with which a browser acts for the named user on every other \
             surface, with a number of requests a minute of its own.",
        links: &[("session_id", "/id")],
    };

    type Call = NewClientSession;
    type Grant = SignedSession;

    fn parse(read: &Read<'_>) -> Result<NewClientSession, Rejection> {
        Ok(new_session(&read.json()?)?)
    }

    async fn admit(
        desk: &Desk,
        _: &Principal,
        call: &NewClientSession,
    ) -> Result<SignedSession, Rejection> {
        desk.create_client_session(call).await
    }

    async fn answer<S: ChatKit<R>, R: ChatKitBody>(
        _: Exchange<S>,
        signed: SignedSession,
        _: NewClientSession,
    ) -> Reply<R> {
        show(&signed)
    }
}

/// Gives what the schema let pass, with the defaults of what is absent or null.
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
        user_id: user_id(at("/user").and_then(Value::as_str).unwrap_or_default())?,
        seconds: at("/expires_after/seconds").and_then(Value::as_u64).unwrap_or(DEFAULT_SECONDS),
        requests_per_minute: requests.and_then(NonZeroU32::new).unwrap_or(DEFAULT_REQUESTS),
        details,
    })
}

#[cfg(test)]
mod tests {
    use super::super::parsed::parsed;
    use super::*;
    use crate::rejection::Code;

    fn session(body: &'static str) -> NewClientSession {
        parsed::<CreateSession>("/sessions", body).unwrap()
    }

    #[test]
    fn a_session_has_the_defaults_of_the_hosted_one() {
        for body in [
            r#"{"user":"ada","workflow":{"id":"wf_1"}}"#,
            r#"{"user":"ada","workflow":{"id":"wf_1","version":null,"tracing":null},
                "chatkit_configuration":{"history":null},"expires_after":null,"rate_limits":{}}"#,
        ] {
            let session = session(body);
            assert_eq!(session.user_id.as_str(), "ada");
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
        let fault = parsed::<CreateSession>("/sessions", body(9)).unwrap_err();
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
            let fault = parsed::<CreateSession>("/sessions", body).unwrap_err();
            assert_eq!(fault.code(), code, "{body}");
        }
    }
}
