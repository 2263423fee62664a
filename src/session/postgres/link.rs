//! Connections, and the flights that calls make on them: there and back once each.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use deadpool_postgres::{
    Client, ClientWrapper, Hook, HookError, Manager, ManagerConfig, Object, Pool, RecyclingMethod,
    Runtime,
};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_postgres::config::SslMode;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Config, NoTls, Row, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::failure::{Failure, describe};
use super::options::{NAME, PostgresOptions};
use super::statements::{Sql, Statements};
use super::tls;
use crate::error::Error;

/// A statement's parameters.
pub(super) type Values<'a> = [&'a (dyn ToSql + Sync)];

/// By how much longer a client waits than the server lets a statement take.
const SLACK: Duration = Duration::from_millis(500);

/// A time that nobody waits for.
const NEVER: Duration = Duration::from_secs(365 * 86_400);

/// Where the database is, and who may be there.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) config: Config,
    /// None if there is to be no TLS.
    tls: Option<MakeRustlsConnect>,
}

impl Place {
    /// Reads what certificates are verified with.
    ///
    /// # Errors
    /// If that can't be read.
    pub(super) fn new(options: &PostgresOptions) -> Result<Self, Error> {
        let mut config = options.config.clone();
        config.connect_timeout(options.connect_timeout);
        // Whoever looks at the database's connections finds those of a schema.
        if config.get_application_name() == Some(NAME) {
            config.application_name(format!("{NAME} {}", options.schema));
        }
        let tls = match (config.get_ssl_mode(), &options.ca) {
            (SslMode::Disable, _) => None,
            // Where nothing is trusted nothing could be verified, and it may do without.
            (SslMode::Prefer, None) => tls::connector(None).ok(),
            // Also what there may be one day.
            (_, ca) => Some(tls::connector(ca.as_deref())?),
        };
        Ok(Self { config, tls })
    }

    /// Makes a connection that nothing is set up in.
    pub(super) async fn connect(
        &self,
        within: Duration,
    ) -> Result<tokio_postgres::Client, Failure> {
        let failed = |error| Failure::Connect(describe(&error));
        let connecting = async {
            let client = if let Some(tls) = self.tls.clone() {
                let (client, connection) = self.config.connect(tls).await.map_err(failed)?;
                tokio::spawn(connection);
                client
            } else {
                let (client, connection) = self.config.connect(NoTls).await.map_err(failed)?;
                tokio::spawn(connection);
                client
            };
            Ok(client)
        };
        let slow = |_| Failure::Connect("it did not answer in time".to_owned());
        timeout(within, connecting).await.map_err(slow)?
    }
}

/// Some connections.
pub(super) struct Link {
    pool: Pool,
    place: Place,
    /// Whether statements are prepared.
    prepares: bool,
    /// How long a flight may take.
    bound: Duration,
    /// How long a call may, with all that it waits for.
    longest: Duration,
    flights: AtomicU64,
    /// Whether the last that was heard of the database was nothing.
    is_silent: AtomicBool,
}

impl Link {
    pub(super) fn new(
        place: Place,
        options: &PostgresOptions,
        size: usize,
        statements: &Arc<Statements>,
    ) -> Result<Self, Error> {
        let manage = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let config = place.config.clone();
        let manager = match place.tls.clone() {
            Some(tls) => Manager::from_config(config, tls, manage),
            None => Manager::from_config(config, NoTls, manage),
        };
        let mut builder = Pool::builder(manager)
            .max_size(size)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(options.wait_timeout))
            .create_timeout(Some(options.connect_timeout))
            .recycle_timeout(Some(options.connect_timeout));
        if !options.pooler {
            let (within, bound) = (options.connect_timeout, options.statement_timeout);
            let statements = Arc::clone(statements);
            builder = builder.post_create(Hook::async_fn(move |client, _| {
                let statements = Arc::clone(&statements);
                Box::pin(async move {
                    match timeout(within, set_up(client, &statements, bound)).await {
                        Ok(done) => done.map_err(HookError::Backend),
                        Err(_) => Err(HookError::message("it did not answer in time")),
                    }
                })
            }));
        }
        let pool = builder
            .build()
            .map_err(|error| Error::store("could not make a pool of connections", error))?;
        let bound = options.statement_timeout.saturating_add(SLACK);
        let waiting = options.wait_timeout.saturating_add(options.connect_timeout);
        let longest = waiting.saturating_add(bound);
        Ok(Self {
            pool,
            place,
            prepares: !options.pooler,
            bound,
            longest,
            flights: AtomicU64::new(0),
            is_silent: AtomicBool::new(false),
        })
    }

    /// How often something was sent, with all that went along, and answered; for tests.
    pub(super) fn flights(&self) -> u64 {
        self.flights.load(Ordering::Relaxed)
    }

    /// Executes a statement, behind another one that goes along on the same connection.
    ///
    /// What was in the way is tried again once. So is what may have been done, if that is `harmless`.
    ///
    /// # Errors
    /// If any of the two fails. Then each was done or not.
    pub(super) async fn query(
        &self,
        along: Option<(&Sql, &Values<'_>)>,
        sql: &Sql,
        values: &Values<'_>,
        harmless: bool,
    ) -> Result<Vec<Row>, Failure> {
        self.query_until(self.latest(), along, sql, values, harmless).await
    }

    /// Tells when a call that begins now has failed at the latest.
    pub(super) fn latest(&self) -> Instant {
        let now = Instant::now();
        // What is too far away is never.
        now.checked_add(self.longest).unwrap_or(now + NEVER)
    }

    /// The same as [`query`](Self::query), in a call that has begun before.
    pub(super) async fn query_until(
        &self,
        until: Instant,
        along: Option<(&Sql, &Values<'_>)>,
        sql: &Sql,
        values: &Values<'_>,
        harmless: bool,
    ) -> Result<Vec<Row>, Failure> {
        let mut is_again = false;
        loop {
            let client = self.client(until).await?;
            let flown = self.bounded(until, client, along, sql, values).await;
            self.is_silent.store(matches!(flown, Err(Failure::TimedOut)), Ordering::Relaxed);
            let failure = match flown {
                Ok(rows) => return Ok(rows),
                Err(failure) => failure,
            };
            if failure.is_of_old_connections() {
                self.renew();
            }
            let is_allowed = harmless || !failure.is_unknown();
            if is_again || !(is_allowed && failure.is_worth_another()) {
                return Err(failure);
            }
            is_again = true;
        }
    }

    /// Gives a connection that is free, or makes one.
    async fn client(&self, until: Instant) -> Result<Client, Failure> {
        let failure = match timeout_at(until, self.pool.get()).await {
            Ok(Ok(client)) => return Ok(client),
            Ok(Err(error)) => Failure::from(error),
            Err(_) => Failure::Connect("it did not answer in time".to_owned()),
        };
        match failure {
            Failure::Exhausted if self.is_silent.load(Ordering::Relaxed) => {
                Err(Failure::Unanswered)
            }
            Failure::Exhausted => Err(failure),
            failure => {
                self.is_silent.store(true, Ordering::Relaxed);
                Err(failure)
            }
        }
    }

    async fn bounded(
        &self,
        until: Instant,
        client: Client,
        along: Option<(&Sql, &Values<'_>)>,
        sql: &Sql,
        values: &Values<'_>,
    ) -> Result<Vec<Row>, Failure> {
        let until = Instant::now().checked_add(self.bound).map_or(until, |bound| bound.min(until));
        let outcome = timeout_at(until, self.fly(&client, along, sql, values)).await;
        match outcome {
            Ok(Ok(rows)) => Ok(rows),
            Ok(Err(failure)) => {
                if failure.was_in_the_way() {
                    // Its statements may be what is in the way.
                    drop(Object::take(client));
                }
                Err(failure)
            }
            Err(_) => {
                self.cancel(client);
                Err(Failure::TimedOut)
            }
        }
    }

    async fn fly(
        &self,
        client: &Client,
        along: Option<(&Sql, &Values<'_>)>,
        sql: &Sql,
        values: &Values<'_>,
    ) -> Result<Vec<Row>, Failure> {
        if !self.prepares {
            self.flights.fetch_add(1, Ordering::Relaxed);
            let Some((first, first_values)) = along else {
                return Ok(client.query_typed(&sql.text, &typed(sql, values)).await?);
            };
            let (first_values, values) = (typed(first, first_values), typed(sql, values));
            return both(
                client.query_typed(&first.text, &first_values),
                client.query_typed(&sql.text, &values),
            )
            .await;
        }
        // Before any of them is sent, or they would not be in their order.
        let statement = self.prepared(client, sql).await?;
        let Some((first, first_values)) = along else {
            self.flights.fetch_add(1, Ordering::Relaxed);
            return Ok(client.query(&statement, values).await?);
        };
        let first = self.prepared(client, first).await?;
        self.flights.fetch_add(1, Ordering::Relaxed);
        both(client.query(&first, first_values), client.query(&statement, values)).await
    }

    /// Gives a statement as it is prepared in a connection: mostly it is already.
    async fn prepared(&self, client: &ClientWrapper, sql: &Sql) -> Result<Statement, Failure> {
        let before = client.statement_cache.size();
        let statement = client.prepare_typed_cached(&sql.text, sql.types).await?;
        if client.statement_cache.size() != before {
            self.flights.fetch_add(1, Ordering::Relaxed);
        }
        Ok(statement)
    }

    /// Closes a connection that something is still done on, and asks the database to leave it.
    fn cancel(&self, client: Client) {
        let (token, tls, bound) = (client.cancel_token(), self.place.tls.clone(), self.bound);
        drop(Object::take(client));
        tokio::spawn(timeout(bound, async move {
            // It may be done by now, or the database gone.
            let _ = match tls {
                Some(tls) => token.cancel_query(tls).await,
                None => token.cancel_query(NoTls).await,
            };
        }));
    }

    /// Closes all connections that are not in use: most likely they were lost with one that was, which they
    /// may not have been told, or are to a database that can only be read.
    pub(super) fn renew(&self) {
        self.pool.retain(|_, _| false);
    }

    /// Closes all connections that are not in use, and the others when they are given back.
    pub(super) fn close(&self) {
        self.pool.close();
    }
}

/// Sets up a connection that nobody else has, and prepares what is asked of it.
async fn set_up(
    client: &ClientWrapper,
    statements: &Statements,
    bound: Duration,
) -> Result<(), tokio_postgres::Error> {
    let set = format!(
        "SET statement_timeout = {}; SET default_transaction_isolation = 'read committed'",
        bound.as_millis().min(i32::MAX as u128)
    );
    client.batch_execute(&set).await?;
    let preparing = statements.all().into_iter();
    let mut preparing: Vec<Pin<Box<dyn Future<Output = _> + Send>>> = preparing
        .map(|sql| {
            let prepared = client.prepare_typed_cached(&sql.text, sql.types);
            Box::pin(async move { prepared.await.map(drop) }) as _
        })
        .collect();
    // All are on their way before the first is answered.
    poll_fn(|context| {
        let mut failed = None;
        preparing.retain_mut(|one| match one.as_mut().poll(context) {
            Poll::Pending => true,
            Poll::Ready(Ok(())) => false,
            Poll::Ready(Err(error)) => {
                failed = Some(error);
                false
            }
        });
        match failed {
            Some(error) => Poll::Ready(Err(error)),
            None if preparing.is_empty() => Poll::Ready(Ok(())),
            None => Poll::Pending,
        }
    })
    .await
}

fn typed<'a>(sql: &Sql, values: &Values<'a>) -> Vec<(&'a (dyn ToSql + Sync), Type)> {
    values.iter().copied().zip(sql.types.iter().cloned()).collect()
}

/// Sends both, in their order, before the first is answered, and gives what the second gave.
async fn both<A, B>(
    first: impl Future<Output = Result<A, tokio_postgres::Error>>,
    second: impl Future<Output = Result<B, tokio_postgres::Error>>,
) -> Result<B, Failure> {
    let (mut first, mut second) = (pin!(first), pin!(second));
    let (mut first_outcome, mut second_outcome) = (None, None);
    poll_fn(|context| {
        if first_outcome.is_none()
            && let Poll::Ready(outcome) = first.as_mut().poll(context)
        {
            first_outcome = Some(outcome);
        }
        if second_outcome.is_none()
            && let Poll::Ready(outcome) = second.as_mut().poll(context)
        {
            second_outcome = Some(outcome);
        }
        match (first_outcome.take(), second_outcome.take()) {
            (Some(Ok(_)), Some(second)) => Poll::Ready(second.map_err(Failure::from)),
            // The second may have been done, whatever became of the first.
            (Some(Err(first)), Some(_)) => Poll::Ready(Err(Failure::from(first).of_both())),
            (first, second) => {
                (first_outcome, second_outcome) = (first, second);
                Poll::Pending
            }
        }
    })
    .await
}
