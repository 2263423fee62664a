//! Connections, and the flights that calls make on them: there and back once each.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{Object, Pool};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{NoTls, Row, Statement};

use super::connection::{Connection, Connections, Place};
use super::failure::Failure;
use super::options::PostgresOptions;
use super::presence::Presence;
use super::statements::{Sql, Statements};
use crate::error::Error;

/// A statement's parameters.
pub(super) type Values<'a> = [&'a (dyn ToSql + Sync)];

/// By how much longer a client waits than the server lets a statement take.
const SLACK: Duration = Duration::from_millis(500);

/// A time that nobody waits for.
const NEVER: Duration = Duration::from_secs(365 * 86_400);

/// A connection that is given back when it is dropped.
type Held = Object<Connections>;

/// Some connections.
pub(super) struct Link {
    pool: Pool<Connections>,
    /// Whether statements are prepared.
    prepares: bool,
    /// How long a flight may take.
    bound: Duration,
    /// How long a call may, with all that it waits for.
    longest: Duration,
    flights: AtomicU64,
    /// Whether the last that was heard of the database was nothing.
    is_silent: AtomicBool,
    presence: Arc<Presence>,
}

impl Link {
    pub(super) fn new(
        place: Place,
        options: &PostgresOptions,
        size: usize,
        statements: &Arc<Statements>,
        presence: &Arc<Presence>,
    ) -> Result<Self, Error> {
        let set_up = (!options.pooler).then(|| (Arc::clone(statements), options.statement_timeout));
        let pool = Pool::builder(Connections { place, within: options.connect_timeout, set_up })
            .max_size(size)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(options.wait_timeout))
            .build()
            .map_err(|error| Error::store("could not make a pool of connections", error))?;
        let bound = options.statement_timeout.saturating_add(SLACK);
        let waiting = options.wait_timeout.saturating_add(options.connect_timeout);
        let longest = waiting.saturating_add(bound);
        Ok(Self {
            pool,
            prepares: !options.pooler,
            bound,
            longest,
            flights: AtomicU64::new(0),
            is_silent: AtomicBool::new(false),
            presence: Arc::clone(presence),
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
        let before = self.presence.before();
        let outcome = self.tried(until, along, sql, values, harmless).await;
        self.presence.heard(before, &outcome);
        outcome
    }

    async fn tried(
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
    async fn client(&self, until: Instant) -> Result<Held, Failure> {
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
        client: Held,
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
        client: &Connection,
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
    async fn prepared(&self, client: &Connection, sql: &Sql) -> Result<Statement, Failure> {
        if let Some(statement) = client.prepared(sql) {
            return Ok(statement.clone());
        }
        self.flights.fetch_add(1, Ordering::Relaxed);
        Ok(client.prepare(sql).await?)
    }

    /// Closes a connection that something is still done on, and asks the database to leave it.
    fn cancel(&self, client: Held) {
        let (token, tls, bound) =
            (client.cancel_token(), self.pool.manager().place.tls.clone(), self.bound);
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
