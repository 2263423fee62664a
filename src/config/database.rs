//! A PostgreSQL database, as its URL names it.

use std::fmt;

#[cfg(feature = "postgres")]
use super::hint;
use super::meaning::Secret;
use super::shown;
#[cfg(feature = "postgres")]
use crate::error::Error;
#[cfg(feature = "postgres")]
use crate::session::PostgresOptions;

/// The URL of a PostgreSQL database. `Display` and `Debug` show the host, the user and the database at
/// most: no password, and no parameters, in which there may be one.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl {
    url: Secret,
    shown: String,
}

impl DatabaseUrl {
    /// Gives the URL itself, for who connects.
    pub fn expose(&self) -> &str {
        self.url.expose()
    }

    /// Reads what begins with `postgres`; errors are the end of a sentence, and show nothing of it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once(':').unwrap_or((text, ""));
        if !is_scheme(scheme) {
            return Err(
                "names another program's driver (write \"postgres://\" in its place)".into()
            );
        }
        if cfg!(not(feature = "postgres")) {
            let why = "names PostgreSQL, which is not in this build (feature `postgres`)";
            return Err(why.into());
        }
        let Some(rest) = rest.strip_prefix("//") else {
            return Err("has no \"//\" after its scheme".into());
        };
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(
                "has a blank or a control character (in a password: percent-encoded)".into()
            );
        }
        let url = Self { url: Secret::new(text), shown: shown_of(rest) };
        #[cfg(feature = "postgres")]
        url.options().map_err(|error| {
            if let Some(why) = nearly_right(rest) {
                return why;
            }
            let why = error.chain();
            why.strip_prefix("the URL of the database ").unwrap_or(&why).to_owned()
        })?;
        Ok(url)
    }

    /// Gives what the URL says, and else the defaults.
    #[cfg(feature = "postgres")]
    pub(super) fn options(&self) -> Result<PostgresOptions, Error> {
        PostgresOptions::parse(self.expose())
    }
}

/// Tells whether a URL of that scheme may be meant for PostgreSQL, if perhaps by another program.
pub(super) fn is_database(text: &str) -> bool {
    let scheme = text.split(':').next().unwrap_or_default();
    scheme.split('+').next().is_some_and(is_scheme)
}

fn is_scheme(scheme: &str) -> bool {
    ["postgres", "postgresql"].contains(&scheme)
}

/// The parameters that a URL may have.
#[cfg(feature = "postgres")]
const PARAMETERS: [&str; 20] = [
    "application_name",
    "channel_binding",
    "connect_timeout",
    "dbname",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "load_balance_hosts",
    "options",
    "password",
    "port",
    "sslmode",
    "sslnegotiation",
    "sslrootcert",
    "target_session_attrs",
    "tcp_user_timeout",
    "user",
];

/// What `sslmode` may be.
#[cfg(feature = "postgres")]
const SSL_MODES: [&str; 6] = ["allow", "disable", "prefer", "require", "verify-ca", "verify-full"];

/// Names the parameter, or the mode of TLS, that something of a URL is nearly: nothing of what stands
/// there, which may be a password's end.
#[cfg(feature = "postgres")]
fn nearly_right(rest: &str) -> Option<String> {
    let (_, parameters) = rest.rsplit_once('?')?;
    parameters.split('&').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        if !PARAMETERS.contains(&name) {
            let known = hint::nearest(name, PARAMETERS)?;
            return Some(format!("has a parameter that is nearly {known:?} (write it so)"));
        }
        let is_wrong = name == "sslmode" && !SSL_MODES.contains(&value);
        let mode = hint::nearest(value, SSL_MODES).filter(|_| is_wrong)?;
        Some(format!("has an sslmode that is nearly {mode:?} (write it so)"))
    })
}

/// Gives what of a URL behind its scheme can be no secret. A password that is not percent-encoded may
/// have whatever ends a part of a URL; then nothing is.
fn shown_of(rest: &str) -> String {
    let (place, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = place.split_at(place.find('/').unwrap_or(place.len()));
    let (login, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let user = login.split(':').next().unwrap_or_default();
    let is_whole = !parameters.contains('@') && !database.contains('@');
    let is_plain = |host: &str| shown::is_place(&format!("postgres://{host}{database}"));
    if !is_whole || !host.split(',').all(is_plain) {
        return "postgres://(not shown)".into();
    }
    if user.is_empty() || !shown::is_text(user) || user.contains(['%', '@']) {
        return format!("postgres://{host}{database}");
    }
    format!("postgres://{user}@{host}{database}")
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({})", self.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_part_of_a_url_that_may_be_a_password_is_shown() {
        for (rest, shown) in [
            ("h/d", "postgres://h/d"),
            ("ada:planted@h:5432/d", "postgres://ada@h:5432/d"),
            ("ada@h/d", "postgres://ada@h/d"),
            (":planted@h/d", "postgres://h/d"),
            ("ada:planted@h/d?sslmode=require&password=planted", "postgres://ada@h/d"),
            ("ada:plan@ted@h/d", "postgres://ada@h/d"),
            (
                "ada:planted@ep-cool-dew-1234.eu-central-1.aws.neon.tech/neondb",
                "postgres://ada@ep-cool-dew-1234.eu-central-1.aws.neon.tech/neondb",
            ),
            ("ada@a:1,b:2/d", "postgres://ada@a:1,b:2/d"),
            ("/d?host=/run/postgresql", "postgres:///d"),
            ("[::1]:5432/d", "postgres://[::1]:5432/d"),
            // Passwords that are not encoded.
            ("ada:planted?x@h/d", "postgres://(not shown)"),
            ("ada:planted/x@h/d", "postgres://(not shown)"),
            ("ada:5432?planted@h/d", "postgres://(not shown)"),
            ("ada:5432/planted@h/d", "postgres://(not shown)"),
            ("ada:planted#x@h/d", "postgres://ada@h/d"),
            ("ada:planted", "postgres://(not shown)"),
            ("sk-planted@h/d", "postgres://h/d"),
        ] {
            assert_eq!(shown_of(rest), shown, "{rest}");
        }
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn nothing_that_prints_it_prints_a_password() {
        let url = DatabaseUrl::parse("postgresql://ada:planted@h/d?password=planted").unwrap();
        assert!(url.expose().contains("planted"));
        assert_eq!(format!("{url} {url:?}"), "postgres://ada@h/d DatabaseUrl(postgres://ada@h/d)");
    }
}
