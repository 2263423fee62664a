//! The store, and how a call gets to the database.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_postgres::Row;
use uuid::Uuid;

use super::background;
use super::connection::Place;
use super::failure::Failure;
use super::ledger::Ledger;
use super::link::{Link, Values};
use super::options::PostgresOptions;
use super::pending::{Batch, Carried, Left};
use super::presence::Presence;
use super::rows;
use super::schema;
use super::statements::{Sql, Statements};
use super::tasks::Task;
use crate::error::Error;
use crate::principal::UserId;
use crate::session::store::StoreFuture;

/// Sessions in a PostgreSQL database, which several gateways share.
///
/// - **Durable.** A write is committed before it is acknowledged. What
///   [`settle`](crate::session::Runs::settle) leaves is written within 20 ms, at once if somebody waits
///   for it, and along with a call that is to see it. While the database is away it is kept, and tried
///   again at least twice a second; with 10,000 of them no run begins until it is back.
/// - **Exact across processes.** Every limit, the lease of a first run and the numbers of conversations
///   hold over all openings. One that isn't heard of for 20 s has no run any more; while it has none it
///   says nothing, so that a database that sleeps when nobody asks can.
/// - **One round trip.** Each call is one, as long as its connection is there. Nothing is asked for a
///   second time that may have been done, but what is harmless then: a read, a run that is known by its
///   id, and what comes to the same.
/// - **Bounded.** A call fails after [`wait_timeout`](PostgresOptions::wait_timeout),
///   [`connect_timeout`](PostgresOptions::connect_timeout) and
///   [`statement_timeout`](PostgresOptions::statement_timeout) together at the latest, and about a second
///   more, however often it is tried; [`ping`](crate::session::Sessions::ping), which is up to three
///   statements, after three times that. One that has to see what an abandoned call has done waits for
///   that first, for `wait_timeout`. A connection on which something took longer is closed.
///
/// It is used in the runtime that it was opened in. Dropping it writes what was left and gives back what
/// was in flight, in that runtime: [`close`](Self::close) waits for that.
#[derive(Debug)]
pub struct PostgresStore {
    shared: Arc<Shared>,
}

impl PostgresStore {
    /// Opens the store, and makes or updates its schema if need be.
    ///
    /// # Errors
    /// If the database can't be reached in time, refuses, or has the schema of a newer version.
    pub async fn open(options: PostgresOptions) -> Result<Self, Error> {
        options.check()?;
        let place = Place::new(&options)?;
        schema::migrate(&place, &options).await?;
        if options.pooler {
            schema::ask_for_isolation(&place, &options).await?;
        } else {
            schema::check_connection(&place, &options).await?;
        }
        let statements = Arc::new(Statements::new(&options.schema));
        let presence = Arc::new(Presence::new(options.shown()));
        let size = usize::try_from(options.pool_size.get()).unwrap_or(usize::MAX);
        let shared = Arc::new(Shared {
            calls: Link::new(place.clone(), &options, size, &statements, &presence)?,
            own: Link::new(place, &options, 1, &statements, &presence)?,
            statements,
            ledger: Arc::default(),
            gateway: Uuid::new_v4(),
            runtime: Handle::current(),
            patience: options.wait_timeout,
            settle_within: options
                .connect_timeout
                .saturating_add(options.wait_timeout)
                .saturating_add(options.statement_timeout),
            settle_again_after: options.statement_timeout.saturating_mul(2),
            again: Mutex::default(),
            is_closed: AtomicBool::new(false),
            is_gone: AtomicBool::new(false),
            gone: Notify::new(),
        });
        tokio::spawn(background::run(Arc::clone(&shared)));
        Ok(Self { shared })
    }

    /// Writes what was left, gives back what is in flight, and closes the connections; gives up after
    /// some seconds. Calls fail from then on.
    pub async fn close(&self) {
        self.shared.leave();
        loop {
            let gone = self.shared.gone.notified();
            if self.shared.is_gone.load(Ordering::Acquire) {
                return;
            }
            gone.await;
        }
    }

    /// Tells how many round trips there were, of calls alone; for tests.
    #[doc(hidden)]
    pub fn flights(&self) -> u64 {
        self.shared.calls.flights()
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Makes a call that writes, a user's if it is known whose. It is begun when the future is polled, and
    /// goes on then, by itself: whoever waits may be polled no more for a while, as an answer's body is until
    /// its client wants more, and must not keep a connection, or a run's turn, until then.
    pub(super) fn write<'a, T, F>(
        &'a self,
        user_id: Option<&'a UserId>,
        call: impl FnOnce(Arc<Shared>) -> F + Send + 'a,
    ) -> StoreFuture<'a, T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        Box::pin(async move {
            let shared = &self.shared;
            let call = call(Arc::clone(shared));
            Task::spawn(shared, user_id, call).await
        })
    }
}

impl Drop for PostgresStore {
    fn drop(&mut self) {
        self.shared.leave();
    }
}

/// What calls have of the store.
pub(super) struct Shared {
    pub(super) calls: Link,
    /// For what nobody waits for, so that it needn't wait for calls.
    pub(super) own: Link,
    pub(super) statements: Arc<Statements>,
    pub(super) ledger: Arc<Ledger>,
    /// This opening.
    pub(super) gateway: Uuid,
    pub(super) runtime: Handle,
    /// How long a call waits for another one.
    pub(super) patience: Duration,
    pub(super) settle_within: Duration,
    /// How long a statement may still be executed whose answer was lost, at most.
    pub(super) settle_again_after: Duration,
    /// What is to be settled once more.
    again: Mutex<Vec<Left>>,
    is_closed: AtomicBool,
    is_gone: AtomicBool,
    gone: Notify,
}

impl Shared {
    /// Executes a statement, and before it what runs left that it is to see.
    pub(super) async fn query(
        &self,
        lefts: &[Arc<Left>],
        sql: &Sql,
        values: &Values<'_>,
        harmless: bool,
    ) -> Result<Vec<Row>, Failure> {
        self.query_until(self.calls.latest(), lefts, sql, values, harmless).await
    }

    /// The same, in a call that has begun before.
    pub(super) async fn query_until(
        &self,
        until: Instant,
        lefts: &[Arc<Left>],
        sql: &Sql,
        values: &Values<'_>,
        harmless: bool,
    ) -> Result<Vec<Row>, Failure> {
        if lefts.is_empty() {
            return self.calls.query_until(until, None, sql, values, harmless).await;
        }
        let _carried = Carried::new(lefts);
        let batch = Batch::new(self.gateway, lefts, true);
        let along = batch.values();
        let along = (&self.statements.settle, &along[..]);
        let rows = self.calls.query_until(until, Some(along), sql, values, harmless).await?;
        self.written(lefts);
        Ok(rows)
    }

    /// Writes what runs left, and gives what was not written: unless it `waits`, what somebody has locked.
    pub(super) async fn settle(
        &self,
        link: &Link,
        lefts: Vec<Arc<Left>>,
        waits: bool,
    ) -> Result<Vec<Arc<Left>>, Failure> {
        let carried = Carried::new(&lefts);
        let batch = Batch::new(self.gateway, &lefts, waits);
        let rows = link.query(None, &self.statements.settle, &batch.values(), true).await?;
        drop(carried);
        let places: Vec<i64> = rows::get(rows::one(&rows)?, 0)?;
        if places.is_empty() {
            self.written(&lefts);
            return Ok(Vec::new());
        }
        let (mut written, mut skipped) = (Vec::new(), Vec::new());
        for (left, place) in lefts.into_iter().zip(1..) {
            if places.contains(&place) { &mut skipped } else { &mut written }.push(left);
        }
        self.written(&written);
        self.ledger.put_back(&skipped);
        Ok(skipped)
    }

    /// Does a read.
    pub(super) async fn read<T>(
        &self,
        context: &'static str,
        sql: &Sql,
        values: &Values<'_>,
        read: impl FnOnce(&[Row]) -> Result<T, Failure>,
    ) -> Result<T, Error> {
        let rows = self.calls.query(None, sql, values, true).await;
        rows.and_then(|rows| read(&rows)).map_err(|failure| Error::store(context, failure))
    }

    /// Does what one row tells of.
    pub(super) async fn ask<T>(
        &self,
        context: &'static str,
        lefts: &[Arc<Left>],
        sql: &Sql,
        values: &Values<'_>,
        harmless: bool,
        read: impl FnOnce(&Row) -> Result<T, Failure>,
    ) -> Result<T, Error> {
        let rows = self.query(lefts, sql, values, harmless).await;
        rows.and_then(|rows| read(rows::one(&rows)?))
            .map_err(|failure| Error::store(context, failure))
    }

    /// Notes that these are written, and which are to be once more.
    pub(super) fn written(&self, lefts: &[Arc<Left>]) {
        // Before, so that whoever is told that they are written finds it.
        let again = lefts.iter().filter(|left| left.may_begin && !left.is_written());
        self.locked_again().extend(again.map(|left| left.again()));
        self.ledger.written(lefts);
    }

    pub(super) fn take_again(&self) -> Vec<Left> {
        std::mem::take(&mut *self.locked_again())
    }

    fn locked_again(&self) -> std::sync::MutexGuard<'_, Vec<Left>> {
        self.again.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// Lets the background end.
    fn leave(&self) {
        self.is_closed.store(true, Ordering::Release);
        self.ledger.news.notify_one();
    }

    /// Says that it has.
    pub(super) fn set_gone(&self) {
        self.is_gone.store(true, Ordering::Release);
        self.gone.notify_waiters();
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("gateway", &self.gateway).finish_non_exhaustive()
    }
}
