//! Instructions of the pieces that a request or an event goes through, and of whole requests.
//!
//! What a process or a connection does once is left out: everything is warm.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a bench ends where an expectation fails"
)]
#![expect(missing_docs, clippy::exit, reason = "what gungraun's macros expand to")]

use std::hint::black_box;
use std::pin::{Pin, pin};

use bytes::Bytes;
use chatkit_rest::authenticate::{Algorithm, Verifier};
use chatkit_rest::stream::{NoObserver, Watch};
use chatkit_rest::validate::{JsonError, parse_json};
use gungraun::prelude::*;
use http::Request;
use http_body_util::Full;

#[path = "gateway.rs"]
mod gateway;

use gateway::{Furnished, SECRET, call, drain, token};

type Deltas = Pin<Box<Watch<Full<Bytes>, NoObserver>>>;

/// Makes `count` deltas in one frame.
fn deltas(count: usize) -> Deltas {
    const DELTA: &str = "data: {\"type\":\"thread.item.updated\",\"delta\":\"0123456789\"}\n\n";
    Box::pin(Watch::new(Full::new(Bytes::from(DELTA.repeat(count))), NoObserver))
}

#[library_benchmark]
#[bench::one(deltas(1))]
#[bench::fifty(deltas(50))]
fn watch(mut body: Deltas) -> (usize, usize) {
    black_box(drain(&mut body.as_mut()))
}

#[library_benchmark]
fn strict_json() -> Result<serde_json::Value, JsonError> {
    black_box(parse_json(black_box(gateway::RUN)))
}

#[library_benchmark]
fn loose_json() -> Result<serde_json::Value, serde_json::Error> {
    black_box(serde_json::from_slice(black_box(gateway::RUN)))
}

/// Gives a verifier that has seen a token, and the token.
fn verifier(cache_capacity: usize) -> (Verifier, String) {
    let builder = Verifier::builder().algorithms([Algorithm::Hs256]).secret(SECRET);
    let verifier = builder.cache_capacity(cache_capacity).build().unwrap();
    let token = token();
    verifier.verify(&token).unwrap();
    (verifier, token)
}

#[library_benchmark]
#[bench::miss(verifier(0))]
#[bench::hit(verifier(100))]
fn verify((verifier, token): (Verifier, String)) -> (Verifier, bool) {
    let good = verifier.verify(black_box(&token)).is_ok();
    (verifier, good)
}

/// Gives the length of the answer to a request.
type Answerer = Box<dyn FnMut(Request<Full<Bytes>>) -> usize>;

/// A gateway that has answered before, and its next request.
struct Warm {
    answer: Answerer,
    request: Request<Full<Bytes>>,
}

fn warm(request: fn(&Furnished) -> Request<Full<Bytes>>) -> Warm {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let furnished = Furnished::new();
    let service = gateway::gateway(&furnished.rooms, 50);
    let answer = Box::new(move |request| {
        let _entered = runtime.enter();
        let mut body = pin!(call(&service, request).into_body());
        drain(&mut body).0
    });
    for _ in 0..3 {
        answer(request(&furnished));
    }
    Warm { answer, request: request(&furnished) }
}

#[library_benchmark]
#[bench::get_thread(warm(Furnished::get_thread))]
#[bench::run_of_50(warm(Furnished::run))]
fn request(mut warm: Warm) -> (usize, Answerer) {
    let bytes = (warm.answer)(warm.request);
    (bytes, warm.answer)
}

library_benchmark_group!(name = pieces, benchmarks = [watch, strict_json, loose_json, verify]);
library_benchmark_group!(name = whole, benchmarks = request);
main!(library_benchmark_groups = [pieces, whole]);
