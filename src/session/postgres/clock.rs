//! How far the database's clock is from ours. Gateways that share it compare times that each takes of its
//! own clock: when a first run's lease ends, and whether a client session has begun.

use jiff::{SignedDuration, Timestamp};
use tokio_postgres::Client;

use super::failure::Failure;
use super::options::PostgresOptions;
use super::rows::{get, instant, one};

/// Clocks that are kept by a time service differ by less.
const APART: SignedDuration = SignedDuration::from_secs(2);

/// Warns if the two clocks differ.
///
/// # Errors
/// If the database doesn't say what time it is.
pub(super) async fn compare(client: &Client, options: &PostgresOptions) -> Result<(), Failure> {
    let before = Timestamp::now();
    let sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
    let rows = client.query_typed(sql, &[]).await?;
    let there = instant(get(one(&rows)?, 0)?)?;
    let apart = apart(before, there, Timestamp::now());
    if apart > APART {
        tracing::warn!(
            database = options.shown(),
            seconds = apart.as_secs_f64(),
            "the clocks of this machine and of the database differ: keep those of all gateways by a \
            time service"
        );
    }
    Ok(())
}

/// Tells by how much a clock differs at least that was read in between.
fn apart(before: Timestamp, there: Timestamp, after: Timestamp) -> SignedDuration {
    if there < before {
        there.duration_until(before)
    } else if there > after {
        after.duration_until(there)
    } else {
        SignedDuration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_differ_by_what_the_way_does_not_explain() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        for (there, seconds) in [(7, 3), (10, 0), (13, 0), (15, 0), (19, 4)] {
            let apart = apart(at(10), at(there), at(15));
            assert_eq!(apart, SignedDuration::from_secs(seconds), "{there}");
        }
    }
}
