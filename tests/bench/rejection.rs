//! Time of a refusal: the cheapest answer the gateway gives, so what an attack costs.

use std::hint::black_box;

use chatkit_rest::rejection::{Code, RefusalStyle, Rejection};
use criterion::{Criterion, criterion_group, criterion_main};

fn refusals(c: &mut Criterion) {
    let style = RefusalStyle::of(&http::Request::new(()));
    c.bench_function("rejection/unauthorized", |b| {
        b.iter(|| Rejection::new(black_box(Code::Unauthorized)).into_response(&style));
    });
    c.bench_function("rejection/invalid_input", |b| {
        b.iter(|| {
            Rejection::new(black_box(Code::InvalidInput))
                .detail("pointer", "/message/content/0/text")
                .into_response(&style)
        });
    });
}

criterion_group!(benches, refusals);
criterion_main!(benches);
