//! `[auth]`: who callers are, and the settings of it that need one another.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::algorithm::{self, Algorithm};
use super::issuers::{self, IssuersConfig};
use super::key_set;
use super::layers;
use super::meaning::Secret;
use super::reader::SettingsReader;
use super::secret;
use super::web;
use crate::authenticate::{
    CLIENT_SECRET_PREFIX, MAX_REQUIREMENTS, Requirement, TokenType, UserTemplate, check_public_key,
    check_secret,
};
use crate::principal::UserId;

/// What a shared secret should have, so that it can't be guessed.
const MIN_SHARED_SECRET_BYTES: usize = 32;

/// What a shared secret must have where others than this machine can try to guess it.
const MIN_EXPOSED_SECRET_BYTES: usize = 16;

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
fn template(text: &str) -> Result<UserTemplate, String> {
    text.parse::<UserTemplate>().map_err(|error| error.to_string())
}

/// Parses what tokens must have.
fn requirements(texts: &[&str]) -> Result<Vec<Requirement>, String> {
    if texts.len() > MAX_REQUIREMENTS {
        return Err(format!("has more than {MAX_REQUIREMENTS} entries"));
    }
    let parsed = texts.iter().map(|text| text.parse::<Requirement>());
    parsed.collect::<Result<_, _>>().map_err(|error| error.to_string())
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

/// Refuses whatever else says what signatures are checked with, beside the key set of `name`.
fn check_alone(
    read: &mut SettingsReader<'_>,
    name: &str,
    others: &[&'static str],
    secret: &[(&'static str, Secret)],
    public_key: &[AuthKey],
) -> Option<()> {
    let others = others.iter().copied();
    let secrets = secret.iter().map(|(name, _)| *name);
    let public_keys = public_key.iter().map(|_| "auth.public_key_file");
    let mut others = others.chain(secrets).chain(public_keys);
    let Some(other) = others.next() else { return Some(()) };
    read.refuse(other, format!("set beside {name}; expected only one of the two"));
    None
}

/// Gives the key that fits the algorithms; a fault where it is missing or the other one is there
/// too.
fn key(
    read: &mut SettingsReader<'_>,
    algorithms: &[Algorithm],
    secret: Vec<(&'static str, Secret)>,
    public_key: Vec<AuthKey>,
) -> Option<AuthKey> {
    if let Some(mixed) = algorithm::mixed(algorithms) {
        read.refuse("auth.algorithms", mixed);
        return None;
    }
    let names: Vec<_> = algorithms.iter().map(|algorithm| algorithm.as_str()).collect();
    let names = names.join(", ");
    let symmetric = algorithms.iter().all(|algorithm| algorithm.is_symmetric());
    let (secret, public_key) = (secret.into_iter().next(), public_key.into_iter().next());
    match (secret, public_key) {
        // Where one may have been meant, that is at fault, and not that there is none.
        (None, None) if may_have_said_a_key(read) => None,
        (None, None) if symmetric => {
            let (setting, is) = unset(read, &["auth.secret", "auth.secret_file"]);
            read.refuse(
                setting,
                format!(
                    "{is}, so no token could be made or verified; {names} expects auth.secret or \
                     auth.secret_file (make a secret with `openssl rand -hex 32`), or other \
                     auth.algorithms with auth.public_key_file. To try the gateway out without \
                     any of them: `chatkit-rest demo`"
                ),
            );
            None
        }
        (None, None) => {
            let [url, file, _] = key_set::SETTINGS;
            let (setting, is) = unset(read, &["auth.public_key_file", url, file]);
            read.refuse(
                setting,
                format!(
                    "{is}, so no token could be verified; {names} expects auth.jwks_url with the key \
                     set of your identity provider, or auth.public_key_file with one key (make a key pair with `openssl genpkey -algorithm …` and \
                     `openssl pkey -pubout`). To try the gateway out without any: \
                     `chatkit-rest demo`"
                ),
            );
            None
        }
        (None, Some(_)) if symmetric => {
            read.refuse(
                "auth.algorithms",
                format!(
                    "{names} takes a secret, but only auth.public_key_file is set; expected the \
                     algorithm of that key, such as RS256 or ES256"
                ),
            );
            None
        }
        (Some(_), None) if !symmetric => {
            read.refuse(
                "auth.algorithms",
                format!(
                    "{names} takes a public key, but only auth.secret is set; expected \
                     auth.public_key_file, or HS256"
                ),
            );
            None
        }
        (Some((name, _)), Some(_)) => {
            let (unused, used) = if symmetric {
                ("auth.public_key_file", name)
            } else {
                (name, "auth.public_key_file")
            };
            let problem = format!("{names} is checked with {used}; expected only one of the two");
            read.refuse(unused, problem);
            None
        }
        (Some((setting, secret)), None) => match check_secret(secret.expose().as_bytes()) {
            Ok(()) => Some(AuthKey::Secret(secret)),
            Err(why) => {
                read.refuse(setting, why);
                None
            }
        },
        (None, Some(key)) => {
            if let AuthKey::PublicKey { pem, .. } = &key
                && let Err(why) = check_public_key(algorithms, pem.as_bytes())
            {
                read.refuse("auth.public_key_file", format!("the file {why}"));
                return None;
            }
            Some(key)
        }
    }
}

/// Tells whether a fault that was found may be all that keeps a key from being there: of a file that
/// can't be read, of a key's setting, or of a name that is nearly one's or its section's.
fn may_have_said_a_key(read: &SettingsReader<'_>) -> bool {
    const KEYS: [&str; 6] = [
        "auth.secret",
        "auth.secret_file",
        "auth.public_key_file",
        "auth.jwks_url",
        "auth.jwks_file",
        "auth.discovery",
    ];
    let of_one = |key: &str| KEYS.contains(&key);
    let meant_one = |hint: &str| {
        hint == "[auth]" || KEYS.iter().any(|key| hint == *key || hint == layers::variable(key))
    };
    read.faults
        .iter()
        .any(|fault| fault.key().is_none_or(of_one) || fault.hint().is_some_and(meant_one))
}

/// Gives which of the settings of a key that is not there is to be named, and what is wrong with it: the
/// one that was set to nothing, or the first.
fn unset<'n>(read: &SettingsReader<'_>, names: &[&'n str]) -> (&'n str, &'static str) {
    match names.iter().find(|name| read.set_by(name).is_some()) {
        Some(name) => (name, "is empty"),
        None => (names.first().copied().unwrap_or_default(), "missing"),
    }
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

/// Refuses a secret that is short where others can reach the gateway.
pub(super) fn check_exposed(auth: &AuthConfig, listen: SocketAddr, read: &mut SettingsReader<'_>) {
    let (secret, inline, file, needed, danger) = match auth {
        AuthConfig::Anonymous(AnonymousConfig {
            shared_secret: Some(secret),
            danger_short_secret,
            ..
        }) => {
            let (inline, file) = ("auth.shared_secret", "auth.shared_secret_file");
            (secret, inline, file, MIN_EXPOSED_SECRET_BYTES, *danger_short_secret)
        }
        AuthConfig::Jwt(JwtConfig {
            key: AuthKey::Secret(secret),
            algorithms,
            danger_short_secret,
            ..
        }) => {
            let needed = needed_bytes(algorithms);
            (secret, "auth.secret", "auth.secret_file", needed, *danger_short_secret)
        }
        AuthConfig::Issuers(several) => {
            for (entry, jwt) in (1..).zip(&several.issuers) {
                let AuthKey::Secret(secret) = &jwt.key else { continue };
                let (is, needed) = (secret.expose().len(), needed_bytes(&jwt.algorithms));
                if listen.ip().is_loopback() || jwt.danger_short_secret || is >= needed {
                    continue;
                }
                let problem = format!(
                    "entry {entry} has a secret of {} that can be guessed, while listen is {listen} \
                     ({}), which others can reach; expected at least {needed} (make one with `openssl \
                     rand -hex {}`), or danger_short_secret = true",
                    bytes(is),
                    read.layers.origin("listen"),
                    needed.max(MIN_SHARED_SECRET_BYTES)
                );
                read.refuse("auth.issuers", problem);
            }
            return;
        }
        AuthConfig::Anonymous(_) | AuthConfig::Jwt(_) => return,
    };
    let is = secret.expose().len();
    if listen.ip().is_loopback() || danger || is >= needed {
        return;
    }
    let is_empty = read.layers.top(inline).is_some_and(|top| top.value.text() == Some(""));
    let from_file = is_empty || read.layers.rank(file) > read.layers.rank(inline);
    let (is, make) = (bytes(is), needed.max(MIN_SHARED_SECRET_BYTES));
    let problem = format!(
        "has {is} and can be guessed, while listen is {listen} ({}), which others can \
         reach; expected at least {needed} (make one with `openssl rand -hex {make}`), or \
         auth.danger_short_secret = true",
        read.layers.origin("listen")
    );
    read.refuse(if from_file { file } else { inline }, problem);
}

fn public_key(read: &mut SettingsReader<'_>) -> Option<Vec<AuthKey>> {
    let path = read.optional("auth.public_key_file", |text| Ok(PathBuf::from(text)))?;
    let Some(path) = path.into_iter().next() else { return Some(Vec::new()) };
    let pem = secret::key_file(read, "auth.public_key_file", &path)?;
    Some(vec![AuthKey::PublicKey { path, pem }])
}

/// Gives the mode, and the settings that say nothing in it.
pub(super) fn without_effect(auth: &AuthConfig) -> (&'static str, &'static [&'static str]) {
    match auth {
        AuthConfig::Jwt(_) | AuthConfig::Issuers(_) => {
            ("jwt", &["auth.anonymous_user", "auth.shared_secret", "auth.shared_secret_file"])
        }
        AuthConfig::Anonymous(_) => (
            "none",
            &[
                "auth.algorithms",
                "auth.secret",
                "auth.secret_file",
                "auth.public_key_file",
                "auth.jwks_url",
                "auth.jwks_file",
                "auth.discovery",
                "auth.danger_plain_http",
                "auth.issuer",
                "auth.audience",
                "auth.user_claim",
                "auth.user",
                "auth.require",
                "auth.token_type",
                "auth.leeway",
                "auth.cookie",
                "auth.issuers",
                "auth.danger_shared_users",
            ],
        ),
    }
}

/// Gives the note on a permission to have a short secret, where there is no such secret.
fn needless_danger(auth: &AuthConfig) -> Option<(&'static str, String)> {
    let (danger, why) = match auth {
        AuthConfig::Anonymous(AnonymousConfig { shared_secret, danger_short_secret, .. }) => {
            let why = match shared_secret {
                None => Some("there is no auth.shared_secret"),
                Some(secret) => (secret.expose().len() >= MIN_EXPOSED_SECRET_BYTES)
                    .then_some("auth.shared_secret is long enough"),
            };
            (*danger_short_secret, why)
        }
        AuthConfig::Issuers(_) => return None,
        AuthConfig::Jwt(JwtConfig { key, algorithms, danger_short_secret, .. }) => {
            let why = match key {
                AuthKey::PublicKey { .. } => Some("tokens are verified with a public key"),
                AuthKey::Discovery { .. }
                | AuthKey::KeySetFile { .. }
                | AuthKey::KeySetUrl { .. } => Some("tokens are verified with a key set"),
                AuthKey::Secret(secret) => (secret.expose().len() >= needed_bytes(algorithms))
                    .then_some("the secret is long enough"),
            };
            (*danger_short_secret, why)
        }
    };
    let why = why.filter(|_| danger)?;
    Some(("auth.danger_short_secret", format!("has no effect: {why}")))
}

fn bytes(count: usize) -> String {
    if count == 1 { "1 byte".into() } else { format!("{count} bytes") }
}

/// Gives what the secret of these algorithms must have.
fn needed_bytes(algorithms: &[Algorithm]) -> usize {
    algorithms.iter().map(|it| it.min_secret_bytes()).max().unwrap_or(0)
}

/// Gives what is allowed but probably not meant, as setting and text.
pub(super) fn notes(auth: &AuthConfig) -> Vec<(&'static str, String)> {
    let mut notes = match auth {
        AuthConfig::Anonymous(AnonymousConfig { user, shared_secret: None, .. }) => {
            let user = user.as_str();
            vec![(
                "auth.mode",
                format!(
                    "everyone who can connect is {user:?}, or the user that a one-shot chat path \
                     names; tokens are not looked at"
                ),
            )]
        }
        AuthConfig::Anonymous(AnonymousConfig { shared_secret: Some(secret), .. }) => {
            let mut notes = vec![(
                "auth.shared_secret",
                "whoever has it is every user: whom a one-shot chat path names is believed".into(),
            )];
            let is = secret.expose().len();
            if is < MIN_SHARED_SECRET_BYTES {
                let (is, needed) = (bytes(is), MIN_SHARED_SECRET_BYTES);
                notes.push((
                    "auth.shared_secret",
                    format!(
                        "has {is} and can be guessed; use {needed} (make one with `openssl \
                         rand -hex {needed}`)"
                    ),
                ));
            }
            notes
        }
        AuthConfig::Jwt(jwt) => of_tokens(jwt),
        AuthConfig::Issuers(several) => {
            let entries = (1..).zip(&several.issuers);
            let noted = entries.flat_map(|(entry, jwt)| {
                of_tokens(jwt).into_iter().map(move |(key, text)| {
                    let name = key.trim_start_matches("auth.");
                    ("auth.issuers", format!("entry {entry}, {name}: {text}"))
                })
            });
            noted.collect()
        }
    };
    notes.extend(needless_danger(auth));
    notes
}

/// Gives the same of how tokens are verified.
fn of_tokens(jwt: &JwtConfig) -> Vec<(&'static str, String)> {
    let mut notes = key_set::notes(&jwt.key, jwt.issuer.as_deref());
    if jwt.token_type.asks_for_another() {
        notes.push((
            "auth.token_type",
            "is the type of tokens that are not for access, and lets in no others".into(),
        ));
    }
    if let AuthKey::Secret(secret) = &jwt.key {
        let (needed, is) = (needed_bytes(&jwt.algorithms), secret.expose().len());
        let at_an_end = |c: char| c.is_whitespace() || c.is_control();
        if secret.expose().starts_with(at_an_end) || secret.expose().ends_with(at_an_end) {
            notes.push((
                "auth.secret",
                "has a blank or a line end at an end of it, which is part of the secret".into(),
            ));
        }
        if is < needed {
            let is = bytes(is);
            notes.push((
                "auth.secret",
                format!(
                    "has {is} and can be guessed; RFC 7518 asks for {needed} (make \
                     one with `openssl rand -hex {needed}`)"
                ),
            ));
        }
    }
    notes
}
