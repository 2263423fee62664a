//! `chatkit-rest token`, and making tokens.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chatkit_rest::authenticate::{Requirement, TokenType};
use chatkit_rest::config::{self, ApiKey, AuthConfig, AuthKey, JwtConfig};
use chatkit_rest::error::Error;
use chatkit_rest::principal::UserId;
use clap::{ArgGroup, Args};
use jiff::Timestamp;
use jsonwebtoken::crypto::aws_lc;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Map, Value};

use super::settings::file_and_environment;
use super::{CommandFailure, output};

/// Mint a token for development, or draw a service's key
///
/// Signs a JWT with the configured secret (`auth.secret`, first of `auth.algorithms`) and prints it.
/// It has `iss` and `aud` where they are configured, the user's id in `auth.user_claim` (in `sub` where
/// `auth.user` makes one of several claims), what `auth.require` asks for, and in its
/// header the `typ` that `auth.token_type` asks for (`JWT` where that names none). Only a gateway
/// that verifies with a secret has what it takes to make tokens; with a public key they come from
/// whoever holds the private one.
///
/// With --service it draws a key for the OpenAI-compatible routes instead, and prints it and the
/// setting that lets its holder in. The gateway needs only the key's SHA-256, so keep the key itself
/// where the service runs. No settings are read for that.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("whose").required(true).args(["sub", "service"]), after_help = "\
Example:
  TOKEN=$(chatkit-rest token --sub ada --ttl 8h --claim plan=pro --claim 'roles=[\"admin\"]')
  chatkit-rest token --service support")]
pub(super) struct TokenArguments {
    /// User id
    #[arg(long, value_name = "USER")]
    sub: Option<String>,

    /// Name of the service that gets a key, for the log
    #[arg(long, value_name = "NAME", conflicts_with_all = ["ttl", "claims", "config"])]
    service: Option<String>,

    /// How long it is valid, such as 30m or 8h
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = ttl)]
    ttl: Duration,

    /// Another claim; the value is taken as JSON if it is JSON, else as text
    #[arg(long = "claim", value_name = "NAME=VALUE", value_parser = claim)]
    claims: Vec<(String, Value)>,

    /// TOML file with settings
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl TokenArguments {
    pub(super) fn run(self) -> Result<(), CommandFailure> {
        if let Some(name) = &self.service {
            let (key, entry) = service_key(name)?;
            output::print(&key_lines(&key, &entry))?;
            return Ok(output::explain(&key_explanation(&entry))?);
        }
        let user = UserId::parse(&self.sub.unwrap_or_default())
            .map_err(|error| CommandFailure::Usage(format!("--sub: {error}")))?;
        let loaded = file_and_environment(self.config).load()?;
        let named = self.claims.iter().find(|(name, _)| name == "iss").map(|(_, iss)| iss);
        let jwt = match &loaded.config.auth {
            AuthConfig::Jwt(jwt) => Some(jwt),
            // Of several, the one that is named, or else the first whose tokens can be made here.
            AuthConfig::Issuers(several) => several.issuers.iter().find(|jwt| match named {
                Some(named) => named.as_str() == jwt.issuer.as_deref(),
                None => matches!(jwt.key, AuthKey::Secret(_)),
            }),
            _ => None,
        };
        if let (None, AuthConfig::Issuers(_)) = (jwt, &loaded.config.auth) {
            let text = "none of auth.issuers has a secret and the iss that --claim iss=… names";
            return Err(CommandFailure::Usage(text.into()));
        }
        let Some(jwt) = jwt else {
            let text = "auth.mode is \"none\": requests need no token, and none is looked at";
            return Err(CommandFailure::Usage(text.into()));
        };
        let token = mint(jwt, &user, self.ttl, self.claims, Timestamp::now())?;
        Ok(output::print(&format!("{token}\n"))?)
    }
}

/// Gives a token for `user` that a gateway with `jwt` accepts from `now` on.
pub(super) fn mint(
    jwt: &JwtConfig,
    user: &UserId,
    ttl: Duration,
    claims: Vec<(String, Value)>,
    now: Timestamp,
) -> Result<String, CommandFailure> {
    let AuthKey::Secret(secret) = &jwt.key else {
        let by = match &jwt.key {
            AuthKey::Discovery { .. } => "the issuer's key set (auth.discovery)",
            AuthKey::KeySetFile { .. } => "a key set (auth.jwks_file)",
            AuthKey::KeySetUrl { .. } => "a key set (auth.jwks_url)",
            _ => "a public key (auth.public_key_file)",
        };
        return Err(CommandFailure::Usage(format!(
            "tokens are verified with {by}, and only the holder of the private key can make one; \
             configure an HS256 secret for development"
        )));
    };
    let algorithm: Option<Algorithm> =
        jwt.algorithms.first().and_then(|algorithm| algorithm.as_str().parse().ok());
    let algorithm = algorithm.ok_or_else(|| Error::config("auth.algorithms is not understood"))?;
    let issued = now.as_second();
    let ttl = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
    let mut all = Map::new();
    for (name, text) in [("iss", &jwt.issuer), ("aud", &jwt.audience)] {
        if let Some(text) = text {
            all.insert(name.into(), text.as_str().into());
        }
    }
    all.insert("iat".into(), issued.into());
    all.insert("exp".into(), issued.saturating_add(ttl).into());
    all.insert("sub".into(), user.as_str().into());
    for (name, value) in claims {
        if name == "sub" || name == "exp" || (jwt.user.is_none() && name == jwt.user_claim) {
            let text = format!("--claim {name}: that one is set by --sub or --ttl");
            return Err(CommandFailure::Usage(text));
        }
        all.insert(name, value);
    }
    match &jwt.user {
        None => drop(all.insert(jwt.user_claim.clone(), user.as_str().into())),
        Some(template) => {
            if let Some(name) = template.claims().find(|name| !all.contains_key(*name)) {
                let text = format!("auth.user is made of {name}; expected --claim {name}=VALUE");
                return Err(CommandFailure::Usage(text));
            }
        }
    }
    add_required(&mut all, &jwt.require);
    let key = EncodingKey::from_secret(secret.expose().as_bytes());
    let mut header = Header::new(algorithm);
    // Whatever else may be said of types, a token without one is taken.
    if let TokenType::Only(only) = &jwt.token_type {
        header.typ = Some(only.clone());
    }
    sign(&header, &all, &key)
        .ok_or_else(|| CommandFailure::Runtime(Error::config("the token could not be signed")))
}

/// Adds what tokens must have, but for claims that are there.
fn add_required(claims: &mut Map<String, Value>, required: &[Requirement]) {
    let mut added = Map::new();
    let scopes: Vec<_> = required.iter().filter_map(Requirement::scope).collect();
    if !scopes.is_empty() && !claims.contains_key("scp") {
        added.insert("scope".into(), scopes.join(" ").into());
    }
    for (name, value) in required.iter().filter_map(Requirement::claim) {
        let value = match value {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            text => text.into(),
        };
        let unescaped = |part: &str| part.replace("~1", "/").replace("~0", "~");
        let path = match name.strip_prefix('/') {
            None => vec![name.to_owned()],
            Some(pointer) => pointer.split('/').map(unescaped).collect(),
        };
        let mut place = &mut added;
        let Some((last, outer)) = path.split_last() else { continue };
        for part in outer {
            let inner = place.entry(part.clone()).or_insert_with(|| Value::Object(Map::new()));
            let Value::Object(inner) = inner else { return };
            place = inner;
        }
        match place.get_mut(last) {
            None => drop(place.insert(last.clone(), value)),
            Some(Value::Array(several)) => several.push(value),
            // Two values of one claim are two of its list.
            Some(one) => *one = Value::Array(vec![one.take(), value]),
        }
    }
    for (name, value) in added {
        claims.entry(name).or_insert(value);
    }
}

/// Signs, but not by the provider of the process, which is none where a build has two.
fn sign(header: &Header, claims: &Map<String, Value>, key: &EncodingKey) -> Option<String> {
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let signed = format!(
        "{}.{}",
        part(&serde_json::to_vec(header).ok()?),
        part(&serde_json::to_vec(claims).ok()?)
    );
    let algorithm = (aws_lc::DEFAULT_PROVIDER.signer_factory)(&header.alg, key).ok()?;
    let signature = algorithm.try_sign(signed.as_bytes()).ok()?;
    Some(format!("{signed}.{}", part(&signature)))
}

/// Gives a new key for the service of that name, and what the gateway is to know of it.
pub(super) fn service_key(name: &str) -> Result<(String, ApiKey), CommandFailure> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::io("no random numbers", io::Error::other(error)))?;
    let key = format!("sk-{}", URL_SAFE_NO_PAD.encode(bytes));
    let entry = ApiKey::of(name, &key)
        .map_err(|why| CommandFailure::Usage(format!("--service {name:?} {why}")))?;
    Ok((key, entry))
}

/// Writes `NAME=SHA256`, as the environment has it.
pub(super) fn setting(entry: &ApiKey) -> String {
    format!("{}={}", entry.name, entry.digest())
}

fn key_lines(key: &str, entry: &ApiKey) -> String {
    let setting = quoted(setting(entry));
    format!("OPENAI_API_KEY={key}\nCHATKIT_REST__OPENAI__API_KEYS={setting}\n")
}

/// Gives a word of a shell's, in quotes where it isn't plain.
fn quoted(word: String) -> String {
    if word.chars().all(|c| c.is_ascii_alphanumeric() || "-_.=".contains(c)) {
        return word;
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Says what the lines are for. Not among them, so that they can be pasted, or read into an
/// environment.
fn key_explanation(entry: &ApiKey) -> String {
    format!(
        "\nThe first line is for the service; its key is not kept anywhere else. The second is for the\n\
         environment of the gateway. In its file the same is:\n\n\
         [openai]\n\
         api_keys = [{{ name = \"{}\", sha256 = \"{}\" }}]\n",
        entry.name,
        entry.digest(),
    )
}

fn ttl(text: &str) -> Result<Duration, String> {
    let ttl = config::duration(text).map_err(|why| format!("{text:?} {why}"))?;
    if ttl < Duration::from_secs(1) {
        return Err("expected at least 1s".into());
    }
    if ttl > Duration::from_secs(366 * 24 * 3600) {
        return Err("expected at most a year (8784h)".into());
    }
    Ok(ttl)
}

fn claim(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    if name.is_empty() {
        return Err("expected NAME=VALUE".into());
    }
    let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
    Ok((name.into(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_required_is_put_in() {
        let required =
            ["scope:chat", "scope:read", "ok=true", "r=a", "r=b", "/x~1y/z=1", "sub=bob"];
        let required = required.map(|text| text.parse().unwrap());
        let mut claims = Map::new();
        claims.insert("sub".into(), "ada".into());
        add_required(&mut claims, &required);
        let expected = serde_json::json!({
            "sub": "ada", "scope": "chat read", "ok": true, "r": ["a", "b"], "x/y": {"z": "1"},
        });
        assert_eq!(Value::Object(claims), expected);
        let mut claims = Map::new();
        claims.insert("scp".into(), "none".into());
        add_required(&mut claims, &required[..2]);
        assert_eq!(Value::Object(claims), serde_json::json!({"scp": "none"}));
    }

    #[test]
    fn claims_are_json_or_text() {
        for (text, value) in [
            ("a=1", serde_json::json!(1)),
            ("a=[\"x\"]", serde_json::json!(["x"])),
            ("a=x=y", serde_json::json!("x=y")),
            ("a=", serde_json::json!("")),
        ] {
            assert_eq!(claim(text), Ok(("a".into(), value)));
        }
        assert!(claim("a").is_err() && claim("=a").is_err());
    }

    #[test]
    #[cfg(unix)]
    fn what_a_service_gets_can_be_pasted() {
        for name in ["support", "a b", "it's", "$HOME `id` !! # ; ~ é", "(a)*&|<>", "~/x:~"] {
            let (key, entry) = service_key(name).unwrap();
            let lines = key_lines(&key, &entry);
            let script = format!("set -eu\n{lines}printf %s \"$CHATKIT_REST__OPENAI__API_KEYS\"");
            let ran = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(ran.stdout).unwrap(), setting(&entry), "{lines}");
            assert_eq!(lines.contains('\''), name != "support", "{lines}");
        }
        // The setting would give another name back.
        for name in [" a", "a ", " "] {
            assert!(service_key(name).unwrap_err().to_string().contains("blank"), "{name:?}");
        }
    }

    #[test]
    fn a_life_is_from_a_second_to_a_year() {
        assert_eq!(ttl("8h"), Ok(Duration::from_secs(8 * 3600)));
        for text in ["0s", "999ms", "9000h", "1d", "forever"] {
            assert!(ttl(text).is_err(), "{text}");
        }
        for text in ["30d", "forever", "30"] {
            assert!(ttl(text).unwrap_err().contains("ms, s, m or h"), "{text}");
        }
    }
}
