//! The page that a list is asked for.

use std::borrow::Cow;
use std::num::IntErrorKind;

use bytes::Bytes;
use serde_json::Value;

use super::splice;
use crate::operation::fields::string_at;
use crate::rejection::Rejection;

/// The most rows that a list is asked for. `ChatKit.js` asks for 9999.
const MAX_LIMIT: i64 = 10_000;

/// What a list request asks for. The names and the default order are the protocol's.
#[derive(Debug)]
pub(super) struct WantedPage {
    /// `params.limit`: absent and 0 mean the server's default of 20.
    pub(super) asked: Option<i64>,
    /// `params.order` is `asc`.
    pub(super) ascending: bool,
    /// `params.after`, an opaque cursor. An empty one is none, as it is for the SDK's stores.
    pub(super) after: Option<String>,
}

impl WantedPage {
    /// Reads it out of a request's params.
    pub(super) fn of(params: &Value) -> Self {
        Self {
            asked: params.get("limit").and_then(integer),
            ascending: params.get("order").and_then(Value::as_str) == Some("asc"),
            after: string_at(params, "after").filter(|after| !after.is_empty()),
        }
    }

    /// Gives the most rows that it may have.
    pub(super) fn limit(&self) -> Option<i64> {
        self.asked.map(|limit| limit.min(MAX_LIMIT))
    }

    /// Tells whether more are asked for than there may be.
    pub(super) fn is_too_much(&self) -> bool {
        self.limit() != self.asked
    }

    /// Gives the same request with its limit within bounds: the upstream gives as much as it is
    /// asked for. All else in it is as it came.
    ///
    /// # Errors
    /// 500 if it has none.
    pub(super) fn bounded(&self, request: &[u8]) -> Result<Bytes, Rejection> {
        splice::param(request, "limit", &self.limit().unwrap_or(MAX_LIMIT).to_string())
    }
}

/// Gives an integer as the upstream reads it: `"2"` and `true` are integers there. One that is too
/// large is the largest.
fn integer(value: &Value) -> Option<i64> {
    let text: Cow<'_, str> = match value {
        Value::Bool(flag) => return Some(i64::from(*flag)),
        Value::String(text) => text.trim().into(),
        // 1.0 is the integer 1, in JSON Schema and for the upstream.
        Value::Number(number) => match number.as_i64() {
            Some(integer) => return Some(integer),
            None => format!("{:.0}", number.as_f64()?).into(),
        },
        _ => return None,
    };
    match text.parse() {
        Ok(integer) => Some(integer),
        Err(error) => match error.kind() {
            IntErrorKind::PosOverflow => Some(i64::MAX),
            IntErrorKind::NegOverflow => Some(i64::MIN),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method};
    use serde_json::json;

    use super::*;
    use crate::operation::Name;
    use crate::operation::passthrough::Passthrough;
    use crate::operation::{Operation as _, Read};
    use crate::route::Router;
    use crate::surface::Surfaces;
    use crate::validate::{BodyLimits, Reader, Schemas};

    #[test]
    fn a_limit_has_a_limit() {
        let reader = Reader::new(Schemas::compile().unwrap(), BodyLimits::default());
        let target = Router::new(Name::ALL, &Surfaces::rest("/v1"))
            .unwrap()
            .route(&Method::POST, "/v1")
            .unwrap();
        let headers = HeaderMap::new();
        let parse = |body: String| {
            let body = Bytes::from(body);
            Passthrough::parse(&Read::new(&reader, &target, None, &headers, &body))
        };
        let call = |kind: &str, limit: &str| {
            let params = format!(r#"{{"thread_id": "t", "limit": {limit}, "after": "a"}}"#);
            let body = Bytes::from(format!(r#"{{"type": "{kind}", "params": {params}}}"#));
            let read = Read::new(&reader, &target, None, &headers, &body);
            Passthrough::parse(&read).map(|call| (call, body))
        };
        let huge = "1".repeat(30);
        let text = format!("\"{huge}\"");
        let negative = format!("-{huge}");
        for (limit, expected) in [
            ("9999", Some(9999)),
            ("10000", Some(10_000)),
            ("10001", Some(10_000)),
            ("1e9", Some(10_000)),
            ("1e30", Some(10_000)),
            (&*huge, Some(10_000)),
            (&text, Some(10_000)),
            ("\" 2 \"", Some(2)),
            ("true", Some(1)),
            ("2.0", Some(2)),
            ("0", Some(0)),
            ("null", None),
            ("-1", Some(-1)),
            (&negative, Some(i64::MIN)),
        ] {
            let (call, _) = call("threads.list", limit).unwrap();
            assert_eq!(call.page.limit(), expected, "{limit}");
        }
        for limit in ["2.5", "\"x\"", "[]", &format!("\"{}\"", "1".repeat(33))] {
            assert!(call("threads.list", limit).is_err(), "{limit}");
            assert!(call("items.list", limit).is_err(), "{limit}");
        }
        // What the upstream is asked for is what it gives.
        for limit in ["9999", "10000", "\"2\"", "-1"] {
            let (call, body) = call("items.list", limit).unwrap();
            assert_eq!(call.body, body, "{limit}");
        }
        for limit in ["10001", "1000000000", "1e30", &huge, &text] {
            let (call, _) = call("items.list", limit).unwrap();
            let sent: Value = serde_json::from_slice(&call.body).unwrap();
            let params = json!({"thread_id": "t", "limit": 10_000, "after": "a"});
            assert_eq!(sent, json!({"type": "items.list", "params": params}), "{limit}");
        }
        // All else is as it came.
        let with = |limit: &str| {
            format!(
                "{{\"x\" : 12345678901234567890123,\n\"type\":\"items.list\",\
                 \"params\":{{\"\\u006cimit\": {limit} ,\"y\":1.50,\"result\":[7],\"thread_id\":\"t\"}}}}"
            )
        };
        assert_eq!(parse(with(&huge)).unwrap().body, with("10000"));
    }
}
