//! `[auth]`: who callers are, and the settings of it that need one another.

mod key;
mod notes;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use self::key::{check_alone, key, public_key};
pub(super) use self::notes::{check_exposed, notes, without_effect};
use super::algorithm::{self, Algorithm};
use super::issuers::{self, IssuersConfig};
use super::key_set;
use super::meaning::Secret;
use super::reader::SettingsReader;
use super::secret;
use super::web;
use crate::authenticate::{
    CLIENT_SECRET_PREFIX, MAX_REQUIREMENTS, Requirement, TokenType, UserTemplate,
};
use crate::principal::UserId;

/// Who callers are.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[expect(clippy::large_enum_variant, reason = "a process has one")]
pub enum AuthConfig {
    /// Whom the caller is believed to be. Only on a loopback address, or with a shared secret.
    Anonymous(AnonymousConfig),
    /// Whom their token says.
    Jwt(JwtConfig),
    /// Whom their token says, which is of one of several issuers.
    Issuers(IssuersConfig),
}

impl AuthConfig {
    /// Lists those whose tokens are taken; none where callers are believed.
    pub fn issuers(&self) -> &[JwtConfig] {
        match self {
            Self::Anonymous(_) => &[],
            Self::Jwt(jwt) => std::slice::from_ref(jwt),
            Self::Issuers(several) => &several.issuers,
        }
    }

    /// Lists those that may be authorization servers (RFC 8414 section 2).
    pub(super) fn servers(&self) -> impl Iterator<Item = &str> {
        let is_url = |issuer: &&str| {
            let rest = issuer.strip_prefix("https://").or_else(|| issuer.strip_prefix("http://"));
            rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(['?', '#']))
        };
        self.issuers().iter().filter_map(|jwt| jwt.issuer.as_deref()).filter(is_url)
    }

    /// Gives the cookie that may carry a token.
    pub(crate) fn cookie(&self) -> Option<&str> {
        match self {
            Self::Anonymous(_) => None,
            Self::Jwt(jwt) => jwt.cookie.as_deref(),
            Self::Issuers(several) => several.cookie.as_deref(),
        }
    }
}

impl JwtConfig {
    /// Gives how the user's id is made.
    pub(crate) fn user_template(&self) -> UserTemplate {
        self.user.clone().unwrap_or_else(|| UserTemplate::of_claim(&self.user_claim))
    }
}

/// Callers who are believed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AnonymousConfig {
    /// Who everyone is whose path names nobody.
    pub user: UserId,
    /// What callers must show to be believed; `None`: nothing.
    pub shared_secret: Option<Secret>,
    /// Whether that may be short though others can reach the gateway.
    pub danger_short_secret: bool,
}

/// How tokens are verified.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct JwtConfig {
    /// The signatures that are accepted: at least one, all fit for [`key`](Self::key).
    pub algorithms: Vec<Algorithm>,
    /// What signatures are checked with.
    pub key: AuthKey,
    /// Whether a secret may be shorter than the hash though others can reach the gateway.
    pub danger_short_secret: bool,
    /// `iss` that tokens must have.
    pub issuer: Option<String>,
    /// `aud` that tokens must have.
    pub audience: Option<String>,
    /// Claim that holds the user's id, unless [`user`](Self::user) says more.
    pub user_claim: String,
    /// How the user's id is made of claims.
    pub user: Option<UserTemplate>,
    /// What tokens must have beside.
    pub require: Vec<Requirement>,
    /// Which tokens are taken for access tokens.
    pub token_type: TokenType,
    /// By which clocks may differ.
    pub leeway: Duration,
    /// Cookie that may carry the token.
    pub cookie: Option<String>,
}

/// What signatures are checked with.
#[derive(Clone)]
#[non_exhaustive]
pub enum AuthKey {
    /// The key set that the issuer's document names. [`JwtConfig::issuer`] is there.
    Discovery {
        /// Whether TLS may be missing on the way.
        danger_plain_http: bool,
    },
    /// A key set. It was read once, when the configuration was.
    KeySetFile {
        /// The file it was read from.
        path: PathBuf,
        /// The file's content.
        json: String,
    },
    /// The key set at a URL.
    KeySetUrl {
        /// Where it is.
        url: String,
        /// Whether TLS may be missing on the way.
        danger_plain_http: bool,
    },
    /// A public key. It was read once, when the configuration was.
    PublicKey {
        /// The file it was read from.
        path: PathBuf,
        /// The file's content: PEM.
        pem: String,
    },
    /// The secret of the HMAC algorithms.
    Secret(Secret),
}

impl fmt::Debug for AuthKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Discovery { .. } => f.write_str("Discovery"),
            Self::KeySetFile { path, .. } => {
                f.debug_struct("KeySetFile").field("path", path).finish_non_exhaustive()
            }
            // Keys do get put into queries.
            Self::KeySetUrl { url, .. } => {
                let url = url.split('?').next().unwrap_or_default();
                f.debug_struct("KeySetUrl").field("url", &url).finish_non_exhaustive()
            }
            Self::PublicKey { path, .. } => {
                f.debug_struct("PublicKey").field("path", path).finish_non_exhaustive()
            }
            Self::Secret(secret) => f.debug_tuple("Secret").field(secret).finish(),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum AuthMode {
    Jwt,
    None,
}

/// Reads `[auth]`.
pub(super) fn read(read: &mut SettingsReader<'_>) -> Option<AuthConfig> {
    let mode = read.choice("auth.mode", &[("jwt", AuthMode::Jwt), ("none", AuthMode::None)]);
    let anonymous = read.optional("auth.anonymous_user", |text| {
        UserId::parse(text)
            .map_err(|_| "is no user id (1 to 255 characters, none a control)".into())
    });
    let shared = shared_secret(read);
    let algorithms = read.list("auth.algorithms", algorithm::parse_all);
    let secret = secret::read(read, "auth.secret", "auth.secret_file");
    let danger_short_secret = read.boolean("auth.danger_short_secret");
    let public_key = public_key(read);
    let key_sets = key_set::read(read);
    let issuer = read.optional("auth.issuer", |text| Ok(text.to_owned()));
    let audience = read.optional("auth.audience", |text| Ok(text.to_owned()));
    let user_claim = read.text("auth.user_claim", |text| match text {
        "" => Err("is empty".into()),
        claim => Ok(claim.to_owned()),
    });
    let user = read.optional("auth.user", template);
    let require = read.list("auth.require", requirements);
    let token_type = read.text("auth.token_type", token_type);
    let leeway = read.duration("auth.leeway");
    let cookie = read.optional("auth.cookie", web::cookie_name);
    let issuers = issuers::read(read);
    let danger_shared_users = read.boolean("auth.danger_shared_users");

    // A setting that the mode has no use for may be at fault all the same: that was recorded above.
    match mode? {
        AuthMode::None => {
            let (anonymous, shared) = (anonymous?, shared?);
            if anonymous.is_empty() {
                read.refuse(
                    "auth.mode",
                    "\"none\" makes everyone one user; expected auth.anonymous_user to say which"
                        .into(),
                );
            }
            let user = anonymous.into_iter().next()?;
            let shared_secret = shared.into_iter().next();
            Some(AuthConfig::Anonymous(AnonymousConfig {
                user,
                shared_secret,
                danger_short_secret: danger_short_secret?,
            }))
        }
        AuthMode::Jwt if issuers.as_ref().is_none_or(|several| !several.is_empty()) => {
            let issuers = issuers?;
            let danger_shared_users = danger_shared_users?;
            issuers::check(read, &issuers, danger_shared_users);
            let cookie = cookie?.into_iter().next();
            Some(AuthConfig::Issuers(IssuersConfig { issuers, danger_shared_users, cookie }))
        }
        AuthMode::Jwt => {
            let (algorithms, secret, public_key) = (algorithms?, secret?, public_key?);
            let user = user?.into_iter().next();
            if user.is_some() && read.differs("auth.user_claim") {
                let problem = "set beside auth.user_claim, which it would replace; expected only \
                               one of the two";
                read.refuse("auth.user", problem.into());
                return None;
            }
            let (key_sets, issuer) = (key_sets?, issuer?.into_iter().next());
            let named: Vec<_> = key_sets.named().collect();
            let (key, algorithms) = match named.first() {
                Some(name) => {
                    let others = named.get(1..).unwrap_or_default();
                    check_alone(read, name, others, &secret, &public_key)?;
                    key_sets.key(read, name, algorithms, issuer.as_deref())?
                }
                None => (key(read, &algorithms, secret, public_key)?, algorithms),
            };
            Some(AuthConfig::Jwt(JwtConfig {
                algorithms,
                key,
                danger_short_secret: danger_short_secret?,
                issuer,
                audience: audience?.into_iter().next(),
                user_claim: user_claim?,
                user,
                require: require?,
                token_type: token_type?,
                leeway: leeway?,
                cookie: cookie?.into_iter().next(),
            }))
        }
    }
}

/// Parses how a user's id is made.
pub(super) fn template(text: &str) -> Result<UserTemplate, String> {
    text.parse::<UserTemplate>().map_err(|error| error.to_string())
}

/// Parses what tokens must have.
fn requirements(texts: &[&str]) -> Result<Vec<Requirement>, String> {
    if texts.len() > MAX_REQUIREMENTS {
        return Err(format!("has more than {MAX_REQUIREMENTS} entries"));
    }
    let parse = |text: &&str| {
        text.parse::<Requirement>().map_err(|error| match text.chars().count() {
            0..=64 => format!("{error}: {text:?}"),
            _ => error.to_string(),
        })
    };
    texts.iter().map(parse).collect()
}

/// Parses a token's type; `any` is no type that is registered or could be, as it has no `+jwt`.
fn token_type(text: &str) -> Result<TokenType, String> {
    // `application/` may be left out (RFC 7515 section 4.1.9).
    let (kind, subtype) = text.split_once('/').unwrap_or(("application", text));
    match text {
        "" => Ok(TokenType::NotAnother),
        text if text.eq_ignore_ascii_case("any") => Ok(TokenType::DangerAny),
        text if is_restricted_name(kind) && is_restricted_name(subtype) => {
            Ok(TokenType::Only(text.to_owned()))
        }
        _ => Err("is no media type".into()),
    }
}

/// Tells whether it is what either part of a media type is (RFC 6838 section 4.2).
fn is_restricted_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "!#$&-^_.+".contains(c);
    text.len() <= 127
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(plain)
}

/// Gives a secret that is a bearer token as it is.
fn shared_secret(read: &mut SettingsReader<'_>) -> Option<Vec<Secret>> {
    let secret = secret::read(read, "auth.shared_secret", "auth.shared_secret_file")?;
    let Some((setting, secret)) = secret.into_iter().next() else { return Some(Vec::new()) };
    // RFC 6750 section 2.1.
    let unpadded = secret.expose().trim_end_matches('=');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
    if unpadded.is_empty() || !unpadded.bytes().all(plain) {
        let problem = "has a character that a bearer token can't have; expected letters, digits \
                       and -._~+/ (make one with `openssl rand -hex 32`)";
        read.refuse(setting, problem.into());
        return None;
    }
    if secret.expose().starts_with(CLIENT_SECRET_PREFIX) {
        let problem = format!(
            "begins with {CLIENT_SECRET_PREFIX:?}, by which the secrets of client sessions are \
             known, so that nobody would be let in; expected another beginning"
        );
        read.refuse(setting, problem);
        return None;
    }
    Some(vec![secret])
}
