//! Connections, each with what is prepared in it, and what makes them.

use std::future::{Future, poll_fn};
use std::ops::Deref;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use deadpool::managed::{Manager, Metrics, RecycleError, RecycleResult};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config, NoTls, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::failure::{Failure, describe};
use super::options::{NAME, PostgresOptions};
use super::statements::{PLACES, Sql, Statements};
use super::tls;
use crate::error::Error;

/// Where the database is, and who may be there.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) config: Config,
    /// None if there is to be no TLS.
    pub(super) tls: Option<MakeRustlsConnect>,
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
    pub(super) async fn connect(&self, within: Duration) -> Result<Client, Failure> {
        self.driven(within).await.map(|(client, _)| client)
    }

    /// The same, with the task that reads and writes on it.
    async fn driven(&self, within: Duration) -> Result<(Client, AbortHandle), Failure> {
        let failed = |error| Failure::Connect(describe(&error));
        let connecting = async {
            Ok(if let Some(tls) = self.tls.clone() {
                let (client, connection) = self.config.connect(tls).await.map_err(failed)?;
                (client, tokio::spawn(connection).abort_handle())
            } else {
                let (client, connection) = self.config.connect(NoTls).await.map_err(failed)?;
                (client, tokio::spawn(connection).abort_handle())
            })
        };
        let slow = |_| Failure::Connect("it did not answer in time".to_owned());
        timeout(within, connecting).await.map_err(slow)?
    }
}

/// A connection.
pub(super) struct Connection {
    client: Client,
    driver: AbortHandle,
    /// What is prepared, each at its statement's place.
    prepared: Box<[OnceLock<Statement>]>,
}

impl Connection {
    fn new((client, driver): (Client, AbortHandle)) -> Self {
        Self { client, driver, prepared: (0..PLACES).map(|_| OnceLock::new()).collect() }
    }

    /// Gives a statement, if it is prepared already.
    pub(super) fn prepared(&self, sql: &Sql) -> Option<&Statement> {
        self.prepared.get(sql.place)?.get()
    }

    /// Prepares a statement.
    pub(super) async fn prepare(&self, sql: &Sql) -> Result<Statement, tokio_postgres::Error> {
        let statement = self.client.prepare_typed(&sql.text, sql.types).await?;
        if let Some(place) = self.prepared.get(sql.place) {
            let _ = place.set(statement.clone());
        }
        Ok(statement)
    }

    /// Bounds what a statement may take, and prepares what is asked.
    async fn set_up(
        &self,
        statements: &Statements,
        bound: Duration,
    ) -> Result<(), tokio_postgres::Error> {
        let set = format!(
            "SET statement_timeout = {}; SET default_transaction_isolation = 'read committed'",
            bound.as_millis().min(i32::MAX as u128)
        );
        self.client.batch_execute(&set).await?;
        let preparing = statements.all().into_iter();
        let mut preparing: Vec<Pin<Box<dyn Future<Output = _> + Send>>> = preparing
            .map(|sql| Box::pin(async move { self.prepare(sql).await.map(drop) }) as _)
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
}

impl Deref for Connection {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // At once: by itself it would go on until all that was sent is answered.
        self.driver.abort();
    }
}

/// What makes the connections of a pool.
pub(super) struct Connections {
    pub(super) place: Place,
    pub(super) within: Duration,
    /// What is set up in each, unless a pooler gives each transaction another; and how long a statement
    /// may take.
    pub(super) set_up: Option<(Arc<Statements>, Duration)>,
}

impl Connections {
    async fn make(&self) -> Result<Connection, Failure> {
        let connection = Connection::new(self.place.driven(self.within).await?);
        let Some((statements, bound)) = &self.set_up else { return Ok(connection) };
        match timeout(self.within, connection.set_up(statements, *bound)).await {
            Ok(Ok(())) => Ok(connection),
            Ok(Err(error)) => Err(Failure::Prepare(describe(&error))),
            Err(_) => Err(Failure::Prepare("it did not answer in time".to_owned())),
        }
    }
}

impl Manager for Connections {
    type Type = Connection;
    type Error = Failure;

    async fn create(&self) -> Result<Connection, Failure> {
        // Rare and large: each call has room for it.
        Box::pin(self.make()).await
    }

    async fn recycle(&self, connection: &mut Connection, _: &Metrics) -> RecycleResult<Failure> {
        if connection.is_closed() {
            return Err(RecycleError::message("it is closed"));
        }
        Ok(())
    }
}
