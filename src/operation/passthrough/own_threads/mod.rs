//! Which of the upstream's threads are the caller's.
//!
//! The upstream's list has everybody's, in an order of its own, and the caller's may be behind any
//! number of others'. So many of its pages are read, and those of the caller's threads that aren't
//! in them are told as the store knows them.
//!
//! A list that is wanted whole has the upstream's order where it could be read so far. One in pages
//! has the store's, which alone is the same for every page whatever the upstream's is: pages are cut
//! from that, and the upstream only says what the rows in them are.

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use serde::Serialize;
use serde_json::value::RawValue;
use tower_service::Service;

use super::cursors;
use super::page::WantedPage;
use crate::chatkit::upstream::Upstream;
use crate::error::BoxError;
use crate::operation::Reply;
use crate::operation::reply;
use crate::session::OwnThreads;

mod candidates;
mod scan;
#[cfg(test)]
mod tests;

use candidates::{Candidates, CutPage};
use scan::Scan;

/// What the server takes an absent limit, and 0, for.
const DEFAULT_LIMIT: i64 = 20;

#[derive(Serialize)]
struct OwnPage<'a> {
    data: Vec<&'a RawValue>,
    has_more: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
}

/// Answers with a page of the caller's own threads.
pub(super) async fn list<S, R>(
    upstream: &mut Upstream<S>,
    mut own: OwnThreads,
    wanted: &WantedPage,
) -> Reply<R>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let limit = match wanted.limit() {
        None | Some(0) => DEFAULT_LIMIT,
        Some(limit) => limit.max(0),
    };
    let enough = usize::try_from(limit).unwrap_or(usize::MAX);
    if enough == 0 {
        return reply::json(&OwnPage { data: Vec::new(), has_more: false, after: None });
    }
    let is_from_the_start = own.is_from_the_start();
    let mut kept = upstream.sender.permit();
    let candidates =
        Candidates::read(&mut own, enough, upstream.max_reply_bytes(), &mut kept).await?;
    let mut scan = Scan::for_candidates(upstream, &candidates, wanted.ascending).await?;
    let items = own.items();
    for (id, row) in &mut scan.rows {
        if let Some(sealed) = cursors::seal_in_row(row, &items, id).await? {
            *row = sealed;
        }
    }

    let is_whole = is_from_the_start && candidates.are_all && candidates.sessions.len() <= enough;
    if is_whole && scan.is_complete() {
        let data = scan.rows.iter().map(|(_, row)| &**row).collect();
        return reply::json(&OwnPage { data, has_more: false, after: None });
    }
    let CutPage { data, next } = candidates.cut(scan)?;
    let data = data.iter().map(|thread| &**thread).collect();
    let after = match next {
        Some(place) => Some(own.cursor(place).await?),
        None => None,
    };
    reply::json(&OwnPage { data, has_more: after.is_some(), after })
}
