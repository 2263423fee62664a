//! (method, path) → [`Target`].

use std::borrow::Cow;
use std::fmt;

use http::{HeaderValue, Method};
use percent_encoding::percent_decode_str;

use super::overlap::{self, Overlap, setting};
use crate::error::Error;
use crate::rejection::{Code, Rejection};
use crate::surface::{Surface, Surfaces};

/// The longest path parameter, in bytes after decoding.
const MAX_PARAMETER_BYTES: usize = 512;

/// The parameter that is the user who is calling.
const USER: &str = "user_id";

/// What a router finds: one of an application's operations.
pub trait Routable: Copy + Eq + fmt::Debug + Send + Sync + 'static {
    /// Gives the method that asks for it.
    fn method(self) -> Method;

    /// Gives its path, below its surface's prefix: segments of text, and of one parameter each, as
    /// `{session_id}`.
    fn path(self) -> &'static str;

    /// Gives the surface that it is on. By default that is REST.
    fn surface(self) -> Surface {
        Surface::Rest
    }

    /// Tells whether its path names the user who is calling.
    fn names_user(self) -> bool {
        self.path().split('/').any(|segment| parameter(segment) == Some(USER))
    }
}

/// The routes to operations, compiled once.
#[derive(Clone, Debug)]
pub struct Router<O> {
    paths: matchit::Router<Methods<O>>,
    /// To ask which surface a path is on, where an id in it may decide that.
    surfaces: Option<Surfaces>,
}

/// The operations of one path, by method.
#[derive(Clone, Debug)]
struct Methods<O> {
    operations: Vec<(Method, O)>,
    /// The names of the path's parameters, in order.
    parameters: Vec<&'static str>,
    /// The user, where it is a path of one user's alone.
    user: Option<&'static str>,
}

/// What a request is aimed at: the operation and its path parameters, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target<O> {
    operation: O,
    parameters: Vec<(&'static str, Box<str>)>,
}

/// Why there is no [`Target`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Miss {
    /// The path is none of ours.
    Path,
    /// The path is ours but doesn't have the method; the value for `Allow`.
    Method(HeaderValue),
}

impl From<Miss> for Rejection {
    fn from(miss: Miss) -> Self {
        match miss {
            Miss::Path => Self::new(Code::NotFound),
            Miss::Method(allow) => Self::of_method(allow),
        }
    }
}

impl<O: Routable> Router<O> {
    /// Makes the routes to those of `operations` whose surface has a prefix.
    ///
    /// # Errors
    /// If a prefix is not empty and doesn't start with `/`, ends with one, or has braces, if two
    /// operations have one method and path, or if an operation's path can be another surface's prefix
    /// or below it: it would be found here, but [`Surfaces::of_path`] would take it for the other
    /// surface's.
    pub fn new(
        operations: impl IntoIterator<Item = O>,
        surfaces: &Surfaces,
    ) -> Result<Self, Error> {
        let operations: Vec<O> = operations.into_iter().collect();
        let mut by_path: Vec<(String, Surface, Methods<O>)> = Vec::new();
        for &operation in &operations {
            let surface = operation.surface();
            let Some(prefix) = surfaces.prefix(surface) else { continue };
            check_prefix(surface, prefix)?;
            let mut path = format!("{prefix}{}", operation.path());
            if path.is_empty() {
                path.push('/');
            }
            let known = by_path.iter_mut().find(|(known, of, _)| *known == path && *of == surface);
            let method = operation.method();
            if let Some((.., methods)) = known {
                if methods.operations.iter().any(|(known, _)| *known == method) {
                    return Err(Error::config(format!("{method} {path} is two operations")));
                }
                methods.operations.push((method, operation));
            } else {
                let parameters = operation.path().split('/').filter_map(parameter).collect();
                let operations = vec![(method, operation)];
                by_path.push((path, surface, Methods { operations, parameters, user: None }));
            }
        }
        if let Some(overlap) = Overlap::all(&operations, surfaces).first() {
            let (inner, outer) = (setting(overlap.inner), setting(overlap.outer));
            let path = overlap.operation.path();
            return Err(Error::config(format!(
                "{inner} can't be where {outer} has its paths: {path} below {outer} can be there"
            )));
        }
        of_namesake(surfaces, &mut by_path);
        let mut paths = matchit::Router::new();
        for (path, surface, methods) in by_path {
            paths.insert(path, methods).map_err(|error| {
                Error::config(format!("{} can't be used", setting(surface))).with(error)
            })?;
        }
        let surfaces = overlap::by_an_id(&operations, surfaces).then(|| surfaces.clone());
        Ok(Self { paths, surfaces })
    }

    /// Tells whether some operation may be at this path, by whichever method.
    #[cfg(feature = "server")]
    pub(super) fn has(&self, path: &str) -> bool {
        self.paths.at(path).is_ok()
    }

    /// Finds the operation. `HEAD` is served by what serves `GET`.
    ///
    /// # Errors
    /// [`Miss`] if there is none.
    pub fn route(&self, method: &Method, path: &str) -> Result<Target<O>, Miss> {
        self.look_up(method, path).unwrap_or(Err(Miss::Path))
    }

    /// Does so; none where no operation is at the path, by whichever method and with whichever ids.
    pub(super) fn look_up(&self, method: &Method, path: &str) -> Option<Result<Target<O>, Miss>> {
        let found = self.paths.at(path).ok()?;
        Some(self.aim(method, path, &found))
    }

    fn aim(
        &self,
        method: &Method,
        path: &str,
        found: &matchit::Match<'_, '_, &Methods<O>>,
    ) -> Result<Target<O>, Miss> {
        let Methods { operations, parameters, user } = found.value;
        let wanted = if *method == Method::HEAD { &Method::GET } else { method };
        let operation = operations
            .iter()
            .find_map(|(method, operation)| (method == wanted).then_some(*operation))
            .ok_or_else(|| Miss::Method(found.value.allow()))?;
        // The surface that was told by the path decided whose credentials count.
        if self.surfaces.as_ref().is_some_and(|all| all.of_path(path) != operation.surface()) {
            return Err(Miss::Path);
        }
        // The namesake is in the path itself, so it is no parameter there.
        let names = parameters.iter().filter(|name| user.is_none() || **name != USER);
        let decoded = names
            .zip(found.params.iter())
            .map(|(name, (_, raw))| decode(raw).map(|value| (*name, value)));
        let namesake = user.map(|user| Ok((USER, user.into())));
        let parameters = namesake.into_iter().chain(decoded).collect::<Result<_, _>>()?;
        Ok(Target { operation, parameters })
    }
}

/// Gives the name of the parameter that a segment of a path's template is.
fn parameter(segment: &'static str) -> Option<&'static str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

/// Adds the paths of a user who is called as the first segment of `/conversations/{conversation_id}`
/// is: the path `/conversations/chat` is theirs, for no conversation has such an id.
fn of_namesake<O: Clone>(surfaces: &Surfaces, by_path: &mut Vec<(String, Surface, Methods<O>)>) {
    const NAME: &str = "conversations";
    let Some(prefix) = surfaces.prefix(Surface::Chat) else { return };
    let any = format!("{prefix}/{{{USER}}}/");
    let mut theirs = Vec::new();
    for (path, surface, methods) in &*by_path {
        if *surface == Surface::Chat
            && let Some(below) = path.strip_prefix(&any)
        {
            let path = format!("{prefix}/{NAME}/{below}");
            // What another surface has at just that place stays its own.
            if by_path.iter().all(|(known, ..)| *known != path) {
                theirs.push((path, *surface, Methods { user: Some(NAME), ..methods.clone() }));
            }
        }
    }
    by_path.append(&mut theirs);
}

impl<O> Methods<O> {
    fn allow(&self) -> HeaderValue {
        let mut names = Vec::new();
        for (method, _) in &self.operations {
            names.push(method.as_str());
            if method == Method::GET {
                names.push("HEAD");
            }
        }
        HeaderValue::try_from(names.join(", ")).unwrap_or(HeaderValue::from_static(""))
    }
}

impl<O: Copy> Target<O> {
    /// Gives the operation.
    pub fn operation(&self) -> O {
        self.operation
    }

    /// Gives the path's parameter of that name, decoded.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| *known == name).map(|(_, value)| &**value)
    }

    /// Gives all of the path's parameters, decoded, in the order of the path.
    pub fn parameters(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.parameters.iter().map(|(name, value)| (*name, &**value))
    }

    /// Gives the user whom the path names.
    pub fn user(&self) -> Option<&str> {
        self.parameter(USER)
    }
}

fn check_prefix(surface: Surface, prefix: &str) -> Result<(), Error> {
    if !prefix.is_empty()
        && (!prefix.starts_with('/') || prefix.ends_with('/') || prefix.contains(['{', '}']))
    {
        return Err(Error::config(format!(
            "{} must start with \"/\", must not end with it, and has no braces",
            setting(surface)
        )));
    }
    Ok(())
}

/// Decodes a parameter: what is not a possible id is a path that doesn't exist.
fn decode(raw: &str) -> Result<Box<str>, Miss> {
    // As nearly every id is written.
    let decoded = if is_plain(raw) {
        Cow::Borrowed(raw)
    } else {
        let decoded = percent_decode_str(raw).decode_utf8().map_err(|_| Miss::Path)?;
        if decoded.chars().any(char::is_control) {
            return Err(Miss::Path);
        }
        decoded
    };
    if decoded.is_empty() || decoded.len() > MAX_PARAMETER_BYTES {
        return Err(Miss::Path);
    }
    Ok(decoded.into())
}

/// Tells whether a segment is nothing but visible ASCII that stands for itself. Without a branch for each
/// byte, so that sixteen are looked at together.
#[expect(clippy::needless_bitwise_bool, reason = "a lazy one would be a branch")]
fn is_plain(raw: &str) -> bool {
    raw.bytes().fold(true, |all, byte| all & (byte > b' ') & (byte < 0x7f) & (byte != b'%'))
}
