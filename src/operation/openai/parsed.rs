//! What an operation reads of a request, for its tests.

use bytes::Bytes;
use http::HeaderMap;

use crate::operation::Name;
use crate::operation::{Operation, Read};
use crate::rejection::Rejection;
use crate::route::Router;
use crate::surface::Surfaces;
use crate::validate::{BodyLimits, Reader, Schemas};

/// Parses a request for an operation of this surface, which lies below `/v1`.
pub(super) fn parsed<O: Operation>(url: &str, body: &'static str) -> Result<O::Call, Rejection> {
    let reader = Reader::new(Schemas::compile().unwrap(), BodyLimits::default());
    let router = Router::new(Name::ALL, &Surfaces::rest("/x").with_openai("/v1")).unwrap();
    let (path, query) = url.split_once('?').map_or((url, None), |(p, q)| (p, Some(q)));
    let target = router.route(&O::ROW.method, &format!("/v1{path}")).unwrap();
    assert_eq!(target.operation().as_str(), O::ROW.name);
    let (headers, body) = (HeaderMap::new(), Bytes::from_static(body.as_bytes()));
    O::parse(&Read::new(&reader, &target, query, &headers, &body))
}
