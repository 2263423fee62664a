//! What an operation is parsed from.

use bytes::Bytes;
use http::HeaderMap;
use serde::Deserialize;
use serde_json::Value;

use super::Name;
use crate::operation::fields::{defect, is_absent, string_at};
use crate::rejection::Rejection;
use crate::route::Target;
use crate::session::ThreadPath;
use crate::validate::json::{self, Parsed, Shape};
use crate::validate::{BodyLimits, Reader, Report, UnknownRequests, query};

/// A request whose body has been read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Read<'a> {
    reader: &'a Reader,
    target: &'a Target<Name>,
    query: Option<&'a str>,
    headers: &'a HeaderMap,
    body: &'a Bytes,
}

impl<'a> Read<'a> {
    pub(super) fn new(
        reader: &'a Reader,
        target: &'a Target<Name>,
        query: Option<&'a str>,
        headers: &'a HeaderMap,
        body: &'a Bytes,
    ) -> Self {
        Self { reader, target, query, headers, body }
    }

    /// Gives the bounds of what is read.
    pub(crate) fn limits(&self) -> &'a BodyLimits {
        &self.reader.limits
    }

    /// Tells what the pass-through does with a type that it doesn't know.
    pub(crate) fn unknown_requests(&self) -> UnknownRequests {
        self.reader.unknown
    }

    /// Gives the reader, for what is read by schemas other than the operation's own.
    pub(crate) fn reader(&self) -> &'a Reader {
        self.reader
    }

    pub(crate) fn headers(&self) -> &'a HeaderMap {
        self.headers
    }

    /// Gives the very bytes.
    pub(crate) fn body(&self) -> &'a Bytes {
        self.body
    }

    /// Tells whether there is no body, where none is asked for. `null` is none.
    pub(crate) fn is_absent(&self) -> bool {
        is_absent(self.body)
    }

    fn name(&self) -> &'static str {
        self.target.operation().as_str()
    }

    /// Gives a parameter of the path. A name that the path hasn't got is as good as an empty one, which
    /// no path has.
    fn parameter(&self, name: &str) -> Box<str> {
        self.target.parameter(name).unwrap_or_default().into()
    }

    /// Gives the `{session_id}` of the path.
    pub(crate) fn session(&self) -> Box<str> {
        self.parameter("session_id")
    }

    /// Gives the `{thread_id}` of the path.
    pub(crate) fn thread(&self) -> Box<str> {
        self.parameter("thread_id")
    }

    /// Gives both of them.
    pub(crate) fn thread_path(&self) -> ThreadPath {
        ThreadPath { session: self.session(), thread: self.thread() }
    }

    /// Gives the `{item_id}` of the path.
    pub(crate) fn item(&self) -> Box<str> {
        self.parameter("item_id")
    }

    /// Gives the `{attachment_id}` of the path.
    pub(crate) fn attachment(&self) -> Box<str> {
        self.parameter("attachment_id")
    }

    /// Gives the `{conversation_id}` of the path.
    pub(crate) fn conversation(&self) -> Box<str> {
        self.parameter("conversation_id")
    }

    /// Reads the body, which matches the operation's schema.
    ///
    /// # Errors
    /// 400 or 422 for what isn't JSON or doesn't match, 413 for too many values.
    pub(crate) fn json(&self) -> Result<Value, Rejection> {
        self.parts(&Shape::Tree).map(|parsed| parsed.value)
    }

    /// Reads the same, with parts that stay as they were written.
    pub(crate) fn parts(&self, shape: &'static Shape) -> Result<Parsed, Rejection> {
        self.parts_of(self.body, shape)
    }

    /// Reads the same, of what stands for the body.
    pub(crate) fn parts_of(&self, body: &[u8], shape: &'static Shape) -> Result<Parsed, Rejection> {
        let max = self.reader.limits.max_json_values;
        let parsed = json::read(body, max, shape)?;
        self.check(&parsed.value)?;
        Ok(parsed)
    }

    /// Checks what stands for the body by the operation's schema.
    ///
    /// # Errors
    /// 400 or 422 for what doesn't match.
    pub(crate) fn check(&self, value: &Value) -> Result<(), Rejection> {
        Ok(self.reader.schemas.check(self.name(), value)?)
    }

    /// Gives the body as a type, once its schema let it pass.
    ///
    /// # Errors
    /// 500 if schema and type disagree.
    pub(crate) fn typed<T: Deserialize<'a>>(&self) -> Result<T, Rejection> {
        serde_json::from_slice(self.body).map_err(|error| defect(&error))
    }

    /// Reads the parameters of the query among `names`, as an object that matches the operation's
    /// schema.
    ///
    /// # Errors
    /// 400 for one that comes twice or doesn't match.
    pub(crate) fn query(&self, names: &[&str]) -> Result<Value, Rejection> {
        self.parameters(names).map_err(Rejection::from)
    }

    /// Reads the same, for an operation that refuses them in words of its own.
    ///
    /// # Errors
    /// The [`Report`] of what is wrong.
    pub(crate) fn parameters(&self, names: &[&str]) -> Result<Value, Report> {
        let value = query::parse(self.query, names)?;
        self.reader.schemas.check_query(self.name(), &value)?;
        Ok(value)
    }

    /// Reads which part of a list of the gateway's own is asked for: the most that are shown, and the
    /// cursor behind which it begins.
    ///
    /// # Errors
    /// 400 for a parameter that comes twice or doesn't match.
    pub(crate) fn page(
        &self,
        default_limit: u64,
        max_limit: u64,
    ) -> Result<(usize, Option<String>), Rejection> {
        let value = self.query(&["limit", "after"])?;
        let limit = value.get("limit").and_then(Value::as_u64).unwrap_or(default_limit);
        let limit = usize::try_from(limit.min(max_limit)).unwrap_or_default();
        Ok((limit, string_at(&value, "after").filter(|after| !after.is_empty())))
    }
}
