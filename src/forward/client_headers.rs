use std::fmt;

use http::header::HeaderName;

use super::names::{dashed, is_identity, is_replaced};

/// What [`ClientHeaders::default`] lists, with commas.
pub(crate) const DEFAULT: &str = "accept-language,user-agent,traceparent,tracestate,baggage,\
                                  x-request-id,chatkit-*,openai-*";

/// Which of a client's header fields the upstream is given: those that are listed, by name or by
/// how a name begins. All others stay with the gateway.
///
/// What a client may never say is not passed on whatever the list: who is calling, credentials,
/// and what belongs to the connection or describes a body (see
/// [`IdentityHeaders`](super::IdentityHeaders)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientHeaders {
    exact: Vec<Box<str>>,
    prefixes: Vec<Box<str>>,
    /// Bit n: a name in `exact` has n bytes. Most fields are told by it alone.
    lengths: u64,
    /// Bit n: a prefix begins with a byte that is n in its last six bits.
    firsts: u64,
    all: bool,
}

/// By what a field is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listed {
    /// By its name, which was looked at when the list was made.
    ByName,
    /// By a pattern, which may take in names that never pass.
    ByPattern,
    /// It isn't.
    Not,
}

impl Default for ClientHeaders {
    /// Lists `accept-language`, `user-agent`, `traceparent`, `tracestate`, `baggage`,
    /// `x-request-id`, `chatkit-*` and `openai-*`.
    fn default() -> Self {
        Self::parse(DEFAULT.split(',')).unwrap_or(Self::NONE)
    }
}

impl ClientHeaders {
    const NONE: Self =
        Self { exact: Vec::new(), prefixes: Vec::new(), lengths: 0, firsts: 0, all: false };

    /// Reads a list, which stands in place of the default one. An entry is a field's name in any
    /// case, the beginning of names and `*`, or `*` alone for all that a client may say at all, as
    /// far as names tell: no list of those from which servers take a user is complete.
    ///
    /// ```
    /// use chatkit_rest::forward::ClientHeaders;
    ///
    /// let headers = ClientHeaders::parse(["accept-language", "X-Tenant", "x-acme-*"])?;
    /// assert!(headers.lists(&http::HeaderName::from_static("x-acme-plan")));
    /// assert!(ClientHeaders::parse(["x-user-id"]).is_err());
    /// # Ok::<(), chatkit_rest::forward::InvalidClientHeader>(())
    /// ```
    ///
    /// # Errors
    /// If an entry is none of these, or if it names nothing that could ever pass: who is calling
    /// (`x-user-id`, `x-forwarded-*`, …), the connection's (`host`, `te`, …), the body's
    /// (`content-*`), or `authorization`, which is
    /// [`IdentityHeaders::forward_authorization`](super::IdentityHeaders::forward_authorization)'s.
    pub fn parse<T: AsRef<str>>(
        entries: impl IntoIterator<Item = T>,
    ) -> Result<Self, InvalidClientHeader> {
        let (mut exact, mut prefixes) = (Vec::<Box<str>>::new(), Vec::<Box<str>>::new());
        let (mut lengths, mut firsts, mut all) = (0, 0, false);
        for entry in entries {
            let entry = entry.as_ref();
            let invalid =
                |why| InvalidClientHeader { entry: entry.chars().take(80).collect(), why };
            let name = entry.strip_suffix('*').unwrap_or(entry);
            if name.is_empty() && !entry.is_empty() {
                all = true;
                continue;
            }
            if name.contains('*') {
                return Err(invalid(Why::Star));
            }
            let name: HeaderName = name.parse().map_err(|_| invalid(Why::NoName))?;
            let name = name.as_str();
            // The most harmless name that a prefix stands for.
            let example = if entry.ends_with('*') { format!("{name}~") } else { name.to_owned() };
            if let Some(why) = never(&dashed(&example)) {
                return Err(invalid(why));
            }
            if entry.ends_with('*') {
                firsts |= name.bytes().next().map_or(0, first_bit);
                prefixes.push(name.into());
            } else {
                lengths |= length_bit(name);
                exact.push(name.into());
            }
        }
        Ok(Self { exact, prefixes, lengths, firsts, all })
    }

    /// Tells whether a field is listed. One that a pattern takes in may be one that never passes.
    pub fn lists(&self, name: &HeaderName) -> bool {
        self.listed(name.as_str()) != Listed::Not
    }

    /// Tells whether and by what a field is listed.
    pub(super) fn listed(&self, name: &str) -> Listed {
        if self.all {
            return Listed::ByPattern;
        }
        if self.lengths & length_bit(name) != 0 && self.exact.iter().any(|it| **it == *name) {
            return Listed::ByName;
        }
        if name.bytes().next().is_some_and(|byte| self.firsts & first_bit(byte) != 0)
            && self.prefixes.iter().any(|prefix| name.starts_with(&**prefix))
        {
            return Listed::ByPattern;
        }
        Listed::Not
    }

    /// Tells whether an entry is this name, or would be to a server that takes `_` for `-`.
    pub(crate) fn names(&self, name: &HeaderName) -> bool {
        self.exact.iter().any(|exact| dashed(exact) == dashed(name.as_str()))
    }
}

fn length_bit(name: &str) -> u64 {
    1 << name.len().min(63)
}

fn first_bit(byte: u8) -> u64 {
    1 << (byte & 63)
}

/// Tells why a name never passes.
fn never(name: &str) -> Option<Why> {
    match name {
        "authorization" => Some(Why::Authorization),
        name if is_identity(name) => Some(Why::Identity),
        name if is_replaced(name) => Some(Why::Replaced),
        _ => None,
    }
}

/// Why a text is no entry of [`ClientHeaders`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidClientHeader {
    entry: String,
    why: Why,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Authorization,
    Identity,
    NoName,
    Replaced,
    Star,
}

impl InvalidClientHeader {
    /// Gives the entry; only its beginning if it is long.
    pub fn entry(&self) -> &str {
        &self.entry
    }

    /// Gives what is wrong with it, as the end of a sentence that begins with the entry.
    pub const fn reason(&self) -> &'static str {
        match self.why {
            Why::Authorization => "is passed on by upstream.forward_authorization alone",
            Why::Identity => "tells servers who is calling, which is not for clients to say",
            Why::NoName => "is not a header's name",
            Why::Replaced => "belongs to the client's connection or body, and is never passed on",
            Why::Star => "has a * that is not at its end",
        }
    }
}

impl fmt::Display for InvalidClientHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the header {:?} {}", self.entry, self.reason())
    }
}

impl std::error::Error for InvalidClientHeader {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_never_pass_cannot_be_listed() {
        for (entry, why) in [
            ("Host", Why::Replaced),
            ("te", Why::Replaced),
            ("content-type", Why::Replaced),
            ("Content-*", Why::Replaced),
            ("content_length", Why::Replaced),
            ("proxy-*", Why::Replaced),
            ("cookie", Why::Replaced),
            ("x-original-url", Why::Replaced),
            ("Authorization", Why::Authorization),
            ("x-user-id", Why::Identity),
            ("x_user_id", Why::Identity),
            ("x-forwarded-*", Why::Identity),
            ("X-Forwarded-F*", Why::Identity),
            ("remote-user", Why::Identity),
            ("", Why::NoName),
            ("x tenant", Why::NoName),
            ("x-tenant:", Why::NoName),
            ("x-*-id", Why::Star),
            ("**", Why::Star),
        ] {
            let invalid = ClientHeaders::parse(["x-tenant", entry]).unwrap_err();
            assert_eq!((invalid.entry(), invalid.why), (entry, why));
        }
        for entry in ["*", "x-*", "host*", "x-user*", "auth*", "x_tenant", "origin", "X-Tenant"] {
            assert!(ClientHeaders::parse([entry]).is_ok(), "{entry}");
        }
    }

    #[test]
    fn a_name_passes_by_itself_or_by_its_beginning() {
        let headers = ClientHeaders::parse(["X-Tenant", "x-acme-*", "baggage"]).unwrap();
        for (name, listed) in [
            ("x-tenant", Listed::ByName),
            ("baggage", Listed::ByName),
            ("x-acme-", Listed::ByPattern),
            ("x-acme-a", Listed::ByPattern),
            ("x-acme", Listed::Not),
            ("x_tenant", Listed::Not),
            ("x-tenants", Listed::Not),
            ("y-tenant", Listed::Not),
            ("accept-language", Listed::Not),
        ] {
            assert_eq!(headers.listed(name), listed, "{name}");
        }
        let long = "x".repeat(100);
        let headers = ClientHeaders::parse([&*long]).unwrap();
        assert_eq!(headers.listed(&long), Listed::ByName);
        assert_eq!(headers.listed(&"x".repeat(99)), Listed::Not);
        assert_eq!(ClientHeaders::parse([""; 0]).unwrap(), ClientHeaders::NONE);
    }

    #[test]
    fn the_default_is_what_its_text_says() {
        assert_eq!(ClientHeaders::default(), ClientHeaders::parse(DEFAULT.split(',')).unwrap());
    }
}
