//! Time of the pieces that a request or an event goes through.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a bench ends where an expectation fails"
)]

use std::convert::Infallible;
use std::hint::black_box;
use std::num::NonZeroU32;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use chatkit_rest::authenticate::{Algorithm, Verifier};
use chatkit_rest::operation::Name;
use chatkit_rest::principal::UserId;
use chatkit_rest::route::Router;
use chatkit_rest::session::{
    BeginRun, MemoryStore, NewSession, OnThread, RunId, RunStart, SessionId, SessionStore,
    Settlement, SqliteStore,
};
use chatkit_rest::stream::{HoldPolicy, NoObserver, Watch, hold};
use chatkit_rest::surface::Surfaces;
use chatkit_rest::validate::parse_json;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use http::Method;
use http_body::{Body, Frame};
use jiff::Timestamp;
use tokio::time::Instant;

#[path = "gateway.rs"]
mod gateway;

/// `left` times the same frame.
struct Frames {
    frame: Bytes,
    left: usize,
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= 1;
        Poll::Ready(Some(Ok(Frame::data(self.frame.clone()))))
    }
}

fn delta(frame_bytes: usize) -> Bytes {
    const HEAD: &str = "data: {\"type\":\"thread.item.updated\",\"delta\":\"";
    let text = "x".repeat(frame_bytes.saturating_sub(HEAD.len() + 4));
    Bytes::from(format!("{HEAD}{text}\"}}\n\n"))
}

fn watching(c: &mut Criterion) {
    let mut group = c.benchmark_group("watch");
    for (name, frame, count) in [
        ("delta_64_bytes", delta(64), 1000),
        ("delta_4_kilobytes", delta(4096), 1000),
        ("burst_of_50", Bytes::from(delta(64).repeat(50)), 1),
    ] {
        group.throughput(Throughput::Bytes((frame.len() * count) as u64));
        group.bench_function(name, |b| {
            b.iter(|| {
                let frames = Frames { frame: frame.clone(), left: count };
                let mut watch = pin!(Watch::new(frames, NoObserver));
                let mut cx = Context::from_waker(Waker::noop());
                while let Poll::Ready(Some(frame)) = watch.as_mut().poll_frame(&mut cx) {
                    black_box(frame.is_ok());
                }
            });
        });
    }
    group.finish();

    c.bench_function("hold/first_output", |b| {
        let frame = delta(64);
        b.iter(|| {
            let frames = Frames { frame: frame.clone(), left: 1 };
            let mut holding = pin!(hold(Watch::new(frames, NoObserver), HoldPolicy::default()));
            holding.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
        });
    });
}

fn reading(c: &mut Criterion) {
    c.bench_function("json/strict", |b| b.iter(|| parse_json(black_box(gateway::RUN))));
    c.bench_function("json/serde_json", |b| {
        b.iter(|| serde_json::from_slice::<serde_json::Value>(black_box(gateway::RUN)));
    });
}

fn tokens(c: &mut Criterion) {
    let token = gateway::token();
    let verifier = |cache_capacity| {
        Verifier::builder()
            .algorithms([Algorithm::Hs256])
            .secret(gateway::SECRET)
            .cache_capacity(cache_capacity)
            .build()
            .unwrap()
    };
    for (name, verifier) in [("token/miss", verifier(0)), ("token/hit", verifier(100))] {
        verifier.verify(&token).unwrap();
        c.bench_function(name, |b| b.iter(|| verifier.verify(black_box(&token))));
    }
}

fn stores(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let file = std::env::temp_dir().join(format!("chatkit-rest-bench-{}.db", SessionId::random()));
    let memory = MemoryStore::new();
    let sqlite = SqliteStore::open(&file).unwrap();
    let stores: [(&str, &dyn SessionStore); 2] = [("memory", &memory), ("sqlite", &sqlite)];
    for (name, store) in stores {
        let (user_id, now) = (UserId::parse("ada").unwrap(), Timestamp::now());
        let session = NewSession::new(user_id.clone(), now);
        let id = session.id;
        let _ = runtime.block_on(store.create(session, None)).unwrap();
        c.bench_function(&format!("{name}/get"), |b| {
            b.iter(|| runtime.block_on(store.get(id.into())).unwrap());
        });
        c.bench_function(&format!("{name}/begin_and_settle"), |b| {
            b.iter(|| {
                let run = RunId::random();
                let mut begin = BeginRun::new(run, now);
                begin.max_messages = NonZeroU32::new(100);
                let started = store.begin_run(id.into(), OnThread::Any, &user_id, begin);
                let start = runtime.block_on(started).unwrap();
                assert!(matches!(start, RunStart::First { .. }), "{start:?}");
                drop(store.settle(id, run, Settlement::default()));
            });
        });
    }
    drop(sqlite);
    for suffix in ["", "-wal", "-shm"] {
        let mut file = file.clone().into_os_string();
        file.push(suffix);
        // Not all of them are there after a clean end.
        let _ = std::fs::remove_file(file);
    }
}

fn whole(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    let furnished = gateway::Furnished::new();
    let service = gateway::gateway(&furnished.rooms, 50);
    let mut answer = |name: &str, request: &dyn Fn() -> _| {
        c.bench_function(name, |b| {
            b.iter_batched(
                request,
                |request| {
                    let mut body = pin!(gateway::call(&service, request).into_body());
                    gateway::drain(&mut body)
                },
                BatchSize::SmallInput,
            );
        });
    };
    answer("gateway/get_thread", &|| furnished.get_thread());
    answer("gateway/run_of_50", &|| furnished.run());
}

/// Measures what a proof adds to the smallest operation that asks the upstream: one after the other, as
/// what else the machine does changes within the minutes that criterion takes for each.
fn proving(c: &mut Criterion) {
    let plain = gateway::Furnished::proving("");
    let gateways = gateway::PROOFS.map(|(name, setting)| {
        let furnished = gateway::Furnished::proving(setting);
        (name, gateway::gateway(&furnished.rooms, 50), furnished)
    });
    let without = gateway::gateway(&plain.rooms, 50);
    c.bench_function("proof/none", |b| {
        b.iter_batched(
            || plain.get_thread(),
            |request| gateway::drain(&mut pin!(gateway::call(&without, request).into_body())),
            BatchSize::SmallInput,
        );
    });
    for (name, with, furnished) in &gateways {
        c.bench_function(&format!("proof/{name}"), |b| {
            b.iter_batched(
                || furnished.get_thread(),
                |request| gateway::drain(&mut pin!(gateway::call(with, request).into_body())),
                BatchSize::SmallInput,
            );
        });
        c.bench_function(&format!("proof/{name}_beside_none"), |b| {
            b.iter_custom(|pairs| {
                let mut added = Duration::ZERO;
                let mut saved = Duration::ZERO;
                for _ in 0..pairs {
                    let (one, other) = (plain.get_thread(), furnished.get_thread());
                    let start = Instant::now();
                    gateway::drain(&mut pin!(gateway::call(&without, one).into_body()));
                    let middle = Instant::now();
                    gateway::drain(&mut pin!(gateway::call(with, other).into_body()));
                    added += middle.elapsed();
                    saved += middle - start;
                }
                added.saturating_sub(saved)
            });
        });
    }
}

/// Measures the way from a path to its operation.
fn routing(c: &mut Criterion) {
    let router = Router::new(Name::ALL, &Surfaces::rest("/api/v1/chatkit")).unwrap();
    let path = "/api/v1/chatkit/sessions/0198c0de-0000-4000-8000-000000000000/threads/thr_1/runs";
    c.bench_function("route/create_run", |b| {
        b.iter(|| router.route(&Method::POST, black_box(path)));
    });
}

criterion_group!(benches, watching, reading, routing, tokens, stores, whole, proving);
criterion_main!(benches);
