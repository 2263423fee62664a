//! The OpenAI-compatible API: target, query and body → [`OpenAiCall`].

use serde_json::Value;

use super::query;
use super::reader::Reader;
use super::report::Report;
use crate::principal::UserId;
use crate::rejection::{Code, Rejection};
use crate::route::{Operation, Target};

/// The items of a page unless the query says so.
const DEFAULT_LIMIT: u64 = 20;

/// The most items of a page.
const MAX_LIMIT: u64 = 100;

/// One operation of the OpenAI-compatible API with what it needs.
#[derive(Debug)]
#[non_exhaustive]
#[expect(missing_docs, reason = "a variant is an operation, and its fields are that table's words")]
pub enum OpenAiCall {
    ListThreads { user: Option<UserId>, page: ListPage },
    GetThread { thread: Box<str> },
    DeleteThread { thread: Box<str> },
    ListItems { thread: Box<str>, page: ListPage },
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
) -> Result<OpenAiCall, Rejection> {
    let thread = || Box::from(target.thread().unwrap_or_default());
    match target.operation() {
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

    fn parsed(method: &Method, url: &str, _: &'static str) -> Result<OpenAiCall, Rejection> {
        let rules = Reader {
            schemas: Schemas::compile().unwrap().into(),
            limits: BodyLimits { body_timeout: Duration::ZERO, ..BodyLimits::default() },
            unknown: UnknownRequests::Refuse,
            buffered: None,
        };
        let router = Router::new(Operation::ALL, &Surfaces::rest("/x").with_openai("/v1")).unwrap();
        let (path, query) = url.split_once('?').map_or((url, None), |(p, q)| (p, Some(q)));
        let target = router.route(method, &format!("/v1{path}")).unwrap();
        parse(&rules, &target, query)
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
