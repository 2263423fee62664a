//! Which user a token names: one claim, or several put together.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::str::FromStr;

use serde_json::Value;

use super::InvalidToken;
use super::jws::UniqueMembers;
use crate::principal::{InvalidUserId, UserId};

/// The most characters of a template.
pub(crate) const MAX_TEMPLATE_CHARS: usize = 255;

/// Claims that can't name a user.
pub(super) const NO_USER_CLAIMS: [&str; 5] = ["", "aud", "exp", "iat", "nbf"];

/// How a user's id is made of a token's claims, such as `{iss}|{sub}`: each name in braces stands for
/// that claim, and the rest for itself.
///
/// Tokens whose claims differ never name one user. What stands between two claims begins with a mark,
/// such as `|`; in a claim that something follows, that mark and `%` are percent-encoded, so that no
/// claim can say where it ends. The last claim is put in as it is. A claim that is missing, empty, or
/// neither a text nor an integer (in `sub`, not a text) makes the token one that names nobody.
///
/// ```
/// use chatkit_rest::authenticate::UserTemplate;
///
/// assert!("{iss}|{sub}".parse::<UserTemplate>().is_ok());
/// assert!("{iss}{sub}".parse::<UserTemplate>().is_err());
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct UserTemplate {
    before: String,
    parts: Vec<Part>,
}

/// A claim, and what follows it.
#[derive(Clone, PartialEq, Eq)]
struct Part {
    claim: String,
    after: String,
}

/// A text that is no [`UserTemplate`]: its text says why, as the end of a sentence that begins with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidTemplate(&'static str);

impl fmt::Display for InvalidTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for InvalidTemplate {}

impl FromStr for UserTemplate {
    type Err = InvalidTemplate;

    fn from_str(text: &str) -> Result<Self, InvalidTemplate> {
        let error = |why| Err(InvalidTemplate(why));
        if text.chars().count() > MAX_TEMPLATE_CHARS {
            return error("has more than 255 characters");
        }
        if text.contains(|c: char| c.is_control() || c == '%') {
            return error("has a % or a control character");
        }
        let mut pieces = text.split('{');
        let before = pieces.next().unwrap_or_default().to_owned();
        let mut parts = Vec::new();
        for piece in pieces {
            let Some((claim, after)) = piece.split_once('}') else {
                return error("has a { without a } after it");
            };
            if NO_USER_CLAIMS.contains(&claim) {
                return error("has a claim that says nothing of a user, or none between braces");
            }
            parts.push(Part { claim: claim.to_owned(), after: after.to_owned() });
        }
        if before.contains('}') || parts.iter().any(|part| part.after.contains('}')) {
            return error("has a } without a { before it");
        }
        if parts.iter().all(|part| part.claim == "iss") {
            return error("has no claim that differs from user to user");
        }
        let between = parts.split_last().map_or(&[][..], |(_, between)| between);
        if !between.iter().all(|part| part.after.starts_with(|c: char| c.is_ascii_punctuation())) {
            return error(
                "has two claims without a mark, such as |, right after the first, so that two users \
                 could have one id",
            );
        }
        Ok(Self { before, parts })
    }
}

impl UserTemplate {
    /// Takes one claim as it is.
    pub(crate) fn of_claim(name: impl Into<String>) -> Self {
        let part = Part { claim: name.into(), after: String::new() };
        Self { before: String::new(), parts: vec![part] }
    }

    /// Lists the claims that an id is made of.
    pub fn claims(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().map(|part| &*part.claim)
    }

    /// Gives what the ids of all tokens with this `iss` begin with, or with any if it is not known.
    ///
    /// Two templates can't give the same id where neither of their beginnings begins with the other.
    #[cfg(feature = "config")]
    pub(crate) fn beginning(&self, issuer: Option<&str>) -> String {
        let mut beginning = self.before.clone();
        let mut parts = self.parts.iter();
        while let Some(issuer) = issuer
            && let Some(part) = parts.next().filter(|part| part.claim == "iss")
        {
            push(&mut beginning, issuer, part, parts.len() == 0);
        }
        beginning
    }

    /// Gives the user whom these claims name.
    pub(super) fn user(&self, claims: &UniqueMembers) -> Result<UserId, InvalidToken> {
        let mut id = self.before.clone();
        let mut parts = self.parts.iter();
        while let Some(part) = parts.next() {
            let value = text(&part.claim, claims.get(&part.claim))?;
            if value.is_empty() {
                return Err(InvalidToken::User(InvalidUserId::Empty));
            }
            push(&mut id, &value, part, parts.len() == 0);
        }
        UserId::parse(&id).map_err(InvalidToken::User)
    }
}

/// Adds a claim and what follows it.
///
/// Nothing but what follows has its mark, unless it is the last: who reads the id from its beginning
/// finds each claim's end at the first mark, and the last claim is what is left. So no two lists of
/// claims have the same id.
fn push(id: &mut String, value: &str, part: &Part, is_last: bool) {
    let mark = if is_last { None } else { part.after.chars().next() };
    match mark {
        None => id.push_str(value),
        Some(mark) => {
            for c in value.chars() {
                match c {
                    '%' => id.push_str("%25"),
                    // One byte, by the form of a template.
                    c if c == mark => {
                        // Writing to a `String` does not fail.
                        let _ = write!(id, "%{:02X}", u32::from(c));
                    }
                    c => id.push(c),
                }
            }
        }
    }
    id.push_str(&part.after);
}

/// Gives a claim as a text. A number is taken as its digits, except in `sub`, which is a string
/// by RFC 7519 section 4.1.2: there, a number is a mistake of whoever made the token.
fn text<'c>(name: &str, claim: Option<&'c Value>) -> Result<Cow<'c, str>, InvalidToken> {
    match claim {
        Some(Value::String(id)) => Ok(Cow::Borrowed(id)),
        Some(Value::Number(_)) if name == "sub" => Err(InvalidToken::NumericSubject),
        Some(Value::Number(id)) if id.is_i64() || id.is_u64() => Ok(Cow::Owned(id.to_string())),
        _ => Err(InvalidToken::NoUser),
    }
}

impl fmt::Display for UserTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.before)?;
        self.parts.iter().try_for_each(|part| write!(f, "{{{}}}{}", part.claim, part.after))
    }
}

impl fmt::Debug for UserTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserTemplate({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(template: &str, claims: &Value) -> Result<String, InvalidToken> {
        let claims: UniqueMembers = serde_json::from_value(claims.clone()).unwrap();
        let template: UserTemplate = template.parse().unwrap();
        template.user(&claims).map(|user| user.as_str().to_owned())
    }

    #[test]
    fn an_id_is_made_of_claims() {
        let claims = serde_json::json!({
            "iss": "https://a.example/|x%", "sub": "auth0|7%", "n": 7, "f": 7.5, "e": "", "b": true,
            "long": "x".repeat(255), "line": "a\nb",
        });
        for (template, expected) in [
            ("{sub}", Ok("auth0|7%")),
            ("{iss}|{sub}", Ok("https://a.example/%7Cx%25|auth0|7%")),
            ("a:{sub}.", Ok("a:auth0|7%.")),
            ("{iss}/ {n}", Ok("https:%2F%2Fa.example%2F|x%25/ 7")),
            ("{sub}|{sub}", Ok("auth0%7C7%25|auth0|7%")),
            ("{iss}|{f}", Err(InvalidToken::NoUser)),
            ("{iss}|{b}", Err(InvalidToken::NoUser)),
            ("{iss}|{none}", Err(InvalidToken::NoUser)),
            ("{iss}|{e}", Err(InvalidToken::User(InvalidUserId::Empty))),
            ("{e}|{sub}", Err(InvalidToken::User(InvalidUserId::Empty))),
            ("{long}", Ok(&*"x".repeat(255))),
            ("{long}.", Err(InvalidToken::User(InvalidUserId::TooLong))),
            ("{line}", Err(InvalidToken::User(InvalidUserId::ControlCharacter))),
        ] {
            let expected = expected.map(str::to_owned);
            assert_eq!(id(template, &claims), expected, "{template}");
        }
        assert_eq!(id("x{sub}", &serde_json::json!({"sub": 7})), Err(InvalidToken::NumericSubject));
    }

    #[test]
    fn a_template_says_where_each_claim_ends() {
        for text in ["{sub}", "{iss}|{sub}", "a{sub}b", "{a b}:{https://x/y}", "é{iss}.é{sub}"] {
            assert_eq!(text.parse::<UserTemplate>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "sub",
            "{}",
            "{sub",
            "sub}",
            "{a}}",
            "{{a}}",
            "{iss}{sub}",
            "{iss}a{sub}",
            "{a}é{b}",
            "{a} {b}",
            "{a}%{b}",
            "%{a}",
            "{aud}",
            "{exp}|{sub}",
            "{iss}",
            "x{iss}|{iss}",
            "{a\n}",
        ] {
            assert!(text.parse::<UserTemplate>().is_err(), "{text}");
        }
        assert!(format!("{{sub}}{}", "x".repeat(251)).parse::<UserTemplate>().is_err());
    }

    /// Texts in which everything is that could be taken for something else.
    fn value() -> impl Strategy<Value = String> {
        "[a|%257C:{}/]{1,6}"
    }

    fn template() -> impl Strategy<Value = String> {
        prop::sample::select(vec![
            "{a}|{b}|{c}",
            "{a}||{b}|{c}",
            "|{a}:{b}|%{c}".trim_start_matches('|'),
            "a{a}/7C{b}|25{c}|",
            "{a}:a{b}:{c}a",
        ])
        .prop_filter("a template", |text| text.parse::<UserTemplate>().is_ok())
        .prop_map(str::to_owned)
    }

    proptest! {
        #[test]
        fn no_two_lists_of_claims_have_one_id(
            template in template(),
            one in [value(), value(), value()],
            other in [value(), value(), value()],
        ) {
            let claims = |[a, b, c]: &[String; 3]| serde_json::json!({"a": a, "b": b, "c": c});
            let (left, right) = (id(&template, &claims(&one)), id(&template, &claims(&other)));
            prop_assert_eq!(left == right, one == other);
        }

        /// The other way round: an id is cut at every place into claims that could have made it.
        #[test]
        fn an_id_is_read_in_one_way(id_text in "[a|%7C25]{1,10}", iss in value(), sub in value()) {
            let made = id("{iss}|{sub}", &serde_json::json!({"iss": iss, "sub": sub})).unwrap();
            let read = |text: &str| {
                let (iss, sub) = text.split_once('|')?;
                Some((iss.replace("%7C", "|").replace("%25", "%"), sub.to_owned()))
            };
            prop_assert_eq!(read(&made), Some((iss, sub)));
            if let Some((iss, sub)) = read(&id_text).filter(|(iss, sub)| !iss.is_empty() && !sub.is_empty()) {
                let again = id("{iss}|{sub}", &serde_json::json!({"iss": iss, "sub": sub})).unwrap();
                prop_assert_eq!(read(&again), Some((iss, sub)));
            }
        }

        #[cfg(feature = "config")]
        #[test]
        fn ids_of_issuers_whose_beginnings_differ_differ(
            left in prop::sample::select(vec!["{iss}|{sub}", "{sub}|{iss}", "a:{sub}", "{iss}:{sub}"]),
            right in prop::sample::select(vec!["{iss}|{sub}", "{sub}|{iss}", "b:{sub}", "a{sub}"]),
            issuers in [value(), value()],
            subjects in [value(), value()],
        ) {
            let [a, b] = [left, right].map(|text| text.parse::<UserTemplate>().unwrap());
            let (a, b) = (a.beginning(Some(&issuers[0])), b.beginning(Some(&issuers[1])));
            let made = |template: &str, at: usize| {
                id(template, &serde_json::json!({"iss": issuers[at], "sub": subjects[at]})).unwrap()
            };
            let (left, right) = (made(left, 0), made(right, 1));
            prop_assert!(left.starts_with(&a) && right.starts_with(&b));
            if !a.starts_with(&b) && !b.starts_with(&a) {
                prop_assert_ne!(left, right);
            }
        }
    }
}
