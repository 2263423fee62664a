//! (method, path) → [`Target`].

use http::{HeaderValue, Method};
use percent_encoding::percent_decode_str;

use super::operation::Operation;
use crate::error::Error;

/// The longest path parameter, in bytes after decoding.
const MAX_PARAMETER_BYTES: usize = 512;

/// The routes, compiled once.
#[derive(Clone, Debug)]
pub struct Router {
    paths: matchit::Router<Methods>,
}

/// The operations of one path, by method.
#[derive(Clone, Debug, Default)]
struct Methods(Vec<(Method, Operation)>);

/// What a request is aimed at: the operation and its path parameters, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    operation: Operation,
    session: Option<Box<str>>,
    thread: Option<Box<str>>,
}

/// Why there is no [`Target`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Miss {
    /// The path is none of ours.
    Path,
    /// The path is ours but doesn't have the method; the value for `Allow`.
    Method(HeaderValue),
}

impl Router {
    /// Compiles the table below `prefix`.
    ///
    /// # Errors
    /// If `prefix` is not empty and doesn't start with `/`, ends with one, or has braces.
    pub fn new(prefix: &str) -> Result<Self, Error> {
        if !prefix.is_empty()
            && (!prefix.starts_with('/') || prefix.ends_with('/') || prefix.contains(['{', '}']))
        {
            return Err(Error::config(
                "rest.prefix must start with \"/\", must not end with it, and has no braces",
            ));
        }
        let mut by_path: Vec<(String, Methods)> = Vec::new();
        for operation in Operation::ALL {
            let (method, path) = operation.route();
            let mut path = format!("{prefix}{path}");
            if path.is_empty() {
                path.push('/');
            }
            match by_path.iter_mut().find(|(known, _)| *known == path) {
                Some((_, methods)) => methods.0.push((method, operation)),
                None => by_path.push((path, Methods(vec![(method, operation)]))),
            }
        }
        let mut paths = matchit::Router::new();
        for (path, methods) in by_path {
            paths
                .insert(path, methods)
                .map_err(|error| Error::config("rest.prefix can't be used").with(error))?;
        }
        Ok(Self { paths })
    }

    /// Finds the operation. `HEAD` is served by what serves `GET`.
    ///
    /// # Errors
    /// [`Miss`] if there is none.
    pub fn route(&self, method: &Method, path: &str) -> Result<Target, Miss> {
        let found = self.paths.at(path).map_err(|_| Miss::Path)?;
        let wanted = if *method == Method::HEAD { &Method::GET } else { method };
        let operation = found
            .value
            .0
            .iter()
            .find_map(|(method, operation)| (method == wanted).then_some(*operation))
            .ok_or_else(|| Miss::Method(found.value.allow()))?;
        let parameter = |name| match found.params.get(name) {
            None => Ok(None),
            Some(raw) => decode(raw).map(Some),
        };
        Ok(Target { operation, session: parameter("session_id")?, thread: parameter("thread_id")? })
    }
}

impl Methods {
    fn allow(&self) -> HeaderValue {
        let mut names = Vec::new();
        for (method, _) in &self.0 {
            names.push(method.as_str());
            if method == Method::GET {
                names.push("HEAD");
            }
        }
        HeaderValue::try_from(names.join(", ")).unwrap_or(HeaderValue::from_static(""))
    }
}

impl Target {
    /// The operation.
    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// The path's session id, if its template has one.
    pub fn session(&self) -> Option<&str> {
        self.session.as_deref()
    }

    /// The path's thread id, if its template has one.
    pub fn thread(&self) -> Option<&str> {
        self.thread.as_deref()
    }
}

/// A parameter that is not a possible id is a path that doesn't exist.
fn decode(raw: &str) -> Result<Box<str>, Miss> {
    let decoded = percent_decode_str(raw).decode_utf8().map_err(|_| Miss::Path)?;
    if decoded.is_empty()
        || decoded.len() > MAX_PARAMETER_BYTES
        || decoded.chars().any(char::is_control)
    {
        return Err(Miss::Path);
    }
    Ok(decoded.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_found_by_its_own_route() {
        for prefix in ["", "/api/v1/chatkit"] {
            let router = Router::new(prefix).unwrap();
            for operation in Operation::ALL {
                let (method, path) = operation.route();
                let path = path.replace("{session_id}", "s1").replace("{thread_id}", "t1");
                let path = match format!("{prefix}{path}") {
                    path if path.is_empty() => "/".to_owned(),
                    path => path,
                };
                let target = router.route(&method, &path).unwrap();
                assert_eq!(target.operation(), operation);
            }
        }
    }

    #[test]
    fn other_paths_and_methods_are_told_apart() {
        let router = Router::new("/x").unwrap();
        for path in [
            "/",
            "/x/",
            "/x/sessions/",
            "/x//sessions",
            "/X/sessions",
            "/x/sessions/a/b",
            "/x/sessions/%00",
            "/x/sessions/%ff",
            "/x/sessions/a/threads/b/runs/c",
            "/x/sessions;a",
        ] {
            assert_eq!(router.route(&Method::GET, path), Err(Miss::Path), "{path}");
        }
        let allow = |value| Err(Miss::Method(HeaderValue::from_static(value)));
        assert_eq!(router.route(&Method::DELETE, "/x/sessions"), allow("POST, GET, HEAD"));
        assert_eq!(router.route(&Method::PUT, "/x/sessions/a"), allow("GET, HEAD, PATCH, DELETE"));
        assert_eq!(router.route(&Method::GET, "/x"), allow("POST"));
        assert!(router.route(&Method::HEAD, "/x/sessions").is_ok());
    }

    #[test]
    fn parameters_are_decoded_one_segment_at_a_time() {
        let router = Router::new("").unwrap();
        let path = "/sessions/a%2Fb/threads/thr_%C3%B6/runs";
        let target = router.route(&Method::POST, path).unwrap();
        assert_eq!((target.session(), target.thread()), (Some("a/b"), Some("thr_ö")));
        // A dot segment is a name like any other: nothing is resolved.
        assert_eq!(router.route(&Method::GET, "/sessions/..").unwrap().session(), Some(".."));
    }

    #[test]
    fn a_bad_prefix_is_a_configuration_error() {
        for prefix in ["api", "/api/", "/{x}"] {
            assert!(Router::new(prefix).unwrap_err().is_config(), "{prefix}");
        }
    }
}
