//! Where the database is, and how long is waited for it.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{ChannelBinding, Host, SslMode};

use crate::error::Error;

/// What connections are called unless the URL says another name, before the schema's.
pub(super) const NAME: &str = "chatkit-rest";

/// How to open a [`PostgresStore`](super::PostgresStore).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PostgresOptions {
    /// The schema that the tables are in: `chatkit_rest` unless set. At most 48 of `a` to `z`, `0` to `9`
    /// and `_`, no digit first.
    pub schema: String,
    /// The most connections for calls: 8 unless set. One more is for what nobody waits for.
    pub pool_size: NonZeroU32,
    /// How long is waited until a connection is made: 10 s unless set, because a database that sleeps
    /// takes some to wake. `connect_timeout` of the URL sets it too.
    pub connect_timeout: Duration,
    /// How long a call waits for one of the connections while all are in use: 2 s unless set.
    pub wait_timeout: Duration,
    /// How long a statement may take: 5 s unless set.
    pub statement_timeout: Duration,
    /// Whether a pooler in transaction mode is in between, such as `PgBouncer`; not unless set. Then
    /// nothing is kept in a connection, and statements are not prepared.
    pub pooler: bool,
    /// A file of the certificates (PEM) that are trusted; what the operating system trusts unless set.
    /// `sslrootcert` of the URL sets it too.
    pub ca: Option<PathBuf>,
    /// What of the URL is for the connection.
    pub(super) config: Config,
}

impl PostgresOptions {
    /// Reads a URL, `postgres://user:password@host:port/database?sslmode=require`, as `libpq` does.
    ///
    /// Of its parameters `sslmode` may be `disable`; `prefer`, which does without TLS if the server has
    /// none; or `require`, `verify-ca` or `verify-full`. Where TLS is used, the certificate is always
    /// verified, and so is the host's name, whichever of them is said. `channel_binding=require` is done
    /// as it says. Several hosts are tried in their order, within one
    /// [`connect_timeout`](Self::connect_timeout): one that accepts and says nothing takes all of it.
    ///
    /// # Errors
    /// If it is no such URL. The error doesn't show it.
    pub fn parse(url: &str) -> Result<Self, Error> {
        let (plain, ca) = without_verification(url)?;
        // The error isn't shown: it names what is taken for a parameter, which may be a password's end.
        let mut config: Config = plain.parse().map_err(|_| {
            invalid(
                "is not understood: a parameter or its value is none, or the password has a \
                character that must be percent-encoded",
            )
        })?;
        if config.get_hosts().is_empty() {
            return Err(invalid("names no host"));
        }
        let has_at = |host: &Host| matches!(host, Host::Tcp(name) if name.contains('@'));
        if config.get_dbname().is_some_and(|name| name.contains('@'))
            || config.get_hosts().iter().any(has_at)
        {
            return Err(invalid("has an @ too many: in a password it is written as %40"));
        }
        // A user's name has none of them unless they are encoded.
        let login = plain.split_once("://").and_then(|(_, rest)| rest.split_once('@'));
        let user = login.map_or("", |(login, _)| login.split(':').next().unwrap_or_default());
        if user.contains(['/', '?']) {
            return Err(invalid("has an @ in a parameter: there it is written as %40"));
        }
        if config.get_ssl_mode() == SslMode::Disable
            && config.get_channel_binding() == ChannelBinding::Require
        {
            return Err(invalid("asks for channel_binding=require without TLS: set sslmode"));
        }
        if config.get_application_name().is_none() {
            config.application_name(NAME);
        }
        // Whoever drops a connection while nothing is said may not say so.
        if !split(&plain).1.contains("keepalives_idle=") {
            config.keepalives_idle(Duration::from_secs(30));
        }
        let connect_timeout =
            config.get_connect_timeout().copied().unwrap_or(Duration::from_secs(10));
        Ok(Self {
            schema: "chatkit_rest".to_owned(),
            pool_size: NonZeroU32::MIN.saturating_add(7),
            connect_timeout,
            wait_timeout: Duration::from_secs(2),
            statement_timeout: Duration::from_secs(5),
            pooler: false,
            ca,
            config,
        })
    }

    /// Tells where the database is, as `user@host:port/database`: no secret.
    pub fn shown(&self) -> String {
        let config = &self.config;
        let mut shown = String::new();
        if let Some(user) = config.get_user() {
            shown.push_str(user);
            shown.push('@');
        }
        let ports = config.get_ports();
        for (number, host) in config.get_hosts().iter().enumerate() {
            if number > 0 {
                shown.push(',');
            }
            match host {
                Host::Tcp(name) => shown.push_str(name),
                #[cfg(unix)]
                Host::Unix(path) => shown.push_str(&path.to_string_lossy()),
            }
            // One port is for all.
            let port = ports.get(number).or(ports.first()).copied().unwrap_or(5432);
            shown.push(':');
            shown.push_str(&port.to_string());
        }
        if let Some(database) = config.get_dbname() {
            shown.push('/');
            shown.push_str(database);
        }
        shown
    }

    /// Checks what was set, before it is used.
    ///
    /// # Errors
    /// If something can't be.
    pub(super) fn check(&self) -> Result<(), Error> {
        check_schema(&self.schema)?;
        let bounds = [self.connect_timeout, self.wait_timeout, self.statement_timeout];
        if bounds.iter().any(|bound| *bound < Duration::from_millis(1)) {
            return Err(Error::config("a time-out of the database is less than a millisecond"));
        }
        Ok(())
    }
}

/// Checks a schema's name. What passes needs no quotes, but for words that mean something in SQL.
pub(super) fn check_schema(schema: &str) -> Result<(), Error> {
    let is_word = |byte: u8| byte == b'_' || byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let begins_well = schema.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
    if !begins_well || schema.len() > 48 || !schema.bytes().all(is_word) {
        return Err(Error::config(
            "the name of the database's schema must be 1 to 48 of a-z, 0-9 and _, no digit first",
        ));
    }
    if schema.starts_with("pg_") {
        return Err(Error::config("schemas whose names begin with pg_ are the database's own"));
    }
    Ok(())
}

/// Takes from a URL what only `libpq` knows: how much of a certificate is verified, and by what.
fn without_verification(url: &str) -> Result<(String, Option<PathBuf>), Error> {
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err(invalid("begins with neither postgres:// nor postgresql://"));
    }
    let (place, query) = split(url);
    if query.is_empty() {
        return Ok((url.to_owned(), None));
    }
    let query = query.trim_start_matches('?');
    let mut ca = None;
    let mut kept = Vec::new();
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match (name, value) {
            ("sslmode", "verify-ca" | "verify-full") => kept.push("sslmode=require".to_owned()),
            ("sslmode", "allow") => kept.push("sslmode=prefer".to_owned()),
            ("sslrootcert", "system") => ca = None,
            ("sslrootcert", path) => ca = Some(PathBuf::from(decoded(path)?)),
            _ => kept.push(parameter.to_owned()),
        }
    }
    if kept.is_empty() {
        return Ok((place.to_owned(), ca));
    }
    Ok((format!("{place}?{}", kept.join("&")), ca))
}

/// Splits a URL before the question mark of its parameters. One before the first @ is the password's, which
/// may have been written as it is.
fn split(url: &str) -> (&str, &str) {
    let login = url.find('@').unwrap_or(0);
    let query = url.get(login..).and_then(|rest| rest.find('?')).map(|at| login + at);
    query.and_then(|at| url.split_at_checked(at)).unwrap_or((url, ""))
}

/// Decodes the percent signs of a parameter.
fn decoded(text: &str) -> Result<String, Error> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || Some(char::from(rest.next()?).to_digit(16)?.to_le_bytes()[0]);
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Err(invalid("has a percent sign that is none"));
        };
        bytes.push(high * 16 + low);
    }
    String::from_utf8(bytes).map_err(|_| invalid("is not UTF-8"))
}

/// Makes the error of a URL. It may have a password in it, so it isn't shown.
fn invalid(what: &str) -> Error {
    Error::config(format!("the URL of the database {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_as_it_is_given_out() {
        let neon = "postgresql://ada:s3cret@ep-cool-1.eu.aws.neon.tech/neondb\
            ?sslmode=require&channel_binding=require";
        let options = PostgresOptions::parse(neon).unwrap();
        assert_eq!(options.config.get_ssl_mode(), SslMode::Require);
        assert_eq!(options.config.get_channel_binding(), ChannelBinding::Require);
        assert_eq!(options.shown(), "ada@ep-cool-1.eu.aws.neon.tech:5432/neondb");
        assert_eq!(options.connect_timeout, Duration::from_secs(10));
        assert_eq!(options.pool_size.get(), 8);
        options.check().unwrap();

        let full = "postgres://ada@db:6543,other/x?sslmode=verify-full&sslrootcert=%2Fetc%2Fca.pem\
            &connect_timeout=3";
        let options = PostgresOptions::parse(full).unwrap();
        assert_eq!(options.config.get_ssl_mode(), SslMode::Require);
        assert_eq!(options.ca, Some(PathBuf::from("/etc/ca.pem")));
        assert_eq!(options.connect_timeout, Duration::from_secs(3));
        for (text, mode) in [
            ("disable", SslMode::Disable),
            ("allow", SslMode::Prefer),
            ("prefer", SslMode::Prefer),
            ("verify-ca", SslMode::Require),
        ] {
            let url = format!("postgres://db/x?sslmode={text}");
            assert_eq!(PostgresOptions::parse(&url).unwrap().config.get_ssl_mode(), mode);
        }
        // A password that is not encoded ends at the first @.
        let plain = "postgres://ada:x?a&&b@db/x?sslmode=verify-full";
        let options = PostgresOptions::parse(plain).unwrap();
        assert_eq!(options.config.get_password(), Some(&b"x?a&&b"[..]));
        assert_eq!(options.config.get_ssl_mode(), SslMode::Require);
        assert_eq!(options.shown(), "ada@db:5432/x");
        // So does one without parameters, and none of it is taken for some.
        for password in ["x?a&&b", "?", "a?sslmode=verify-full&", "k?keepalives_idle=", "x/y?&"] {
            for parameters in ["", "?", "?sslmode=allow", "?sslrootcert=system&connect_timeout=3"] {
                let url = format!("postgres://ada:{password}@db/x{parameters}");
                let options = PostgresOptions::parse(&url).unwrap();
                assert_eq!(options.config.get_password(), Some(password.as_bytes()), "{url}");
                assert_eq!(options.shown(), "ada@db:5432/x", "{url}");
                assert_eq!(options.config.get_keepalives_idle(), Duration::from_secs(30), "{url}");
            }
        }
        let socket = PostgresOptions::parse("postgres:///x?host=/run/postgresql&user=ada").unwrap();
        assert_eq!(socket.shown(), "ada@/run/postgresql:5432/x");
    }

    #[test]
    fn what_is_no_url_is_told_without_it() {
        for url in [
            "s3cret",
            "mysql://ada:s3cret@db/x",
            "postgres://ada:s3cret@db/x?sslmode=s3cret",
            "postgres://ada:s3cret@db/x?s3=s3cret",
            "postgres://ada:s3cret@db:s3cret/x",
            "postgres://ada:s3cret@db/x?channel_binding=s3cret",
            "postgres://ada:s3cret@db/x?sslrootcert=%s3cret",
            "postgres://ada:s3cret@db/x?sslmode=disable&channel_binding=require",
            "postgres:///x?user=s3cret",
            // Parameters and passwords that have an @.
            "postgres:///x?host=db&user=s3cret@corp",
            "postgres://ada:x@s3cret@db/x",
            "postgres://ada:x@y/s3cret@db/x",
        ] {
            let Err(error) = PostgresOptions::parse(url) else { panic!("{url}") };
            assert!(error.is_config(), "{url}");
            for shown in [error.chain(), format!("{error:?}")] {
                assert!(!shown.contains("s3cret"), "{shown}");
            }
        }
        let options = PostgresOptions::parse("postgres://ada:s3cret@db/x").unwrap();
        assert!(!format!("{options:?}").contains("s3cret"));
    }

    #[test]
    fn a_schema_is_a_plain_word() {
        for schema in ["chatkit_rest", "_", "a1"] {
            check_schema(schema).unwrap();
        }
        let long = "a".repeat(49);
        for schema in ["", "1a", "A", "a-b", "a\"b", "a b", "pg_x", "\u{e9}", &long] {
            assert!(check_schema(schema).is_err(), "{schema:?}");
        }
    }
}
