//! Instructions of a refusal, which do not vary with the machine's load: what CI can gate on.

#![expect(missing_docs, clippy::exit, reason = "what gungraun's macros expand to")]

use std::hint::black_box;

use bytes::Bytes;
use chatkit_rest::rejection::{Code, RefusalStyle, Rejection};
use gungraun::prelude::*;
use http::{Request, Response};
use http_body_util::Full;

#[library_benchmark]
#[bench::unauthorized(Code::Unauthorized)]
#[bench::rate_limited(Code::RateLimited)]
fn refusal(code: Code) -> Response<Full<Bytes>> {
    let style = RefusalStyle::of(&Request::new(()));
    black_box(Rejection::new(black_box(code)).into_response(&style))
}

library_benchmark_group!(name = refusals, benchmarks = refusal);
main!(library_benchmark_groups = refusals);
