// What wrote `0.1.0.db`: an example of version 0.1.0 (`--no-default-features --features sqlite`), whose
// calls of the store these are. It is no part of the tests, and compiles with that version alone.

use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chatkit_rest::principal::UserId;
use chatkit_rest::session::*;
use jiff::Timestamp;

fn at(second: i64) -> Timestamp {
    Timestamp::new(1_763_700_000 + second, 123_456_000).unwrap()
}

fn id(n: u8) -> SessionId {
    let mut bytes = [0; 16];
    (bytes[0], bytes[6], bytes[8], bytes[15]) = (n, 0x70, 0x80, 255 - n);
    SessionId::from_bytes(bytes)
}

#[tokio::main]
async fn main() {
    let path = std::env::args().nth(1).unwrap();
    let store = SqliteStore::open(Path::new(&path)).unwrap();
    let user = |name: &str| UserId::parse(name).unwrap();
    let new = |n: u8, who: &str, title: Option<&str>, conversation| NewSession {
        id: id(n),
        user_id: user(who),
        title: title.map(str::to_owned),
        conversation,
        now: at(i64::from(n)),
    };
    for session in [
        new(1, "ada", None, None),
        new(2, "ada", Some("Crème brûlée, and \"more\""), None),
        new(3, "bob", Some(""), Some(NewConversation::Next)),
        new(4, "bob", None, Some(NewConversation::Next)),
        new(5, "Zoë 🦊", Some("line\nbreak"), Some(NewConversation::Conv(0x0f3a_91c2))),
        new(6, "ada", None, None),
        new(7, "a'b;--", Some("left by a run that died"), None),
        new(8, "B", None, None),
    ] {
        let _ = store.create(session, None).await.unwrap();
    }
    let begin = |s| BeginRun { max_messages: None, lease: Duration::from_secs(60), now: at(s) };
    for (n, thread, messages) in
        [(2, "thr_b", 4), (3, "thr_a", 2), (5, "thr_ü/é", 100), (6, "thr_gone", 2), (8, "THR_A", 1)]
    {
        let RunStart::First(lease) =
            store.begin_run(id(n), begin(100 + i64::from(n))).await.unwrap()
        else {
            panic!()
        };
        let _ = store.bind(id(n), lease, Arc::from(thread), at(110 + i64::from(n))).await.unwrap();
        store.settle(
            id(n),
            Settlement {
                lease: None,
                messages,
                title: (n == 3).then(|| Some("from upstream".into())),
                touched_at: Some(at(120 + i64::from(n))),
                discard_unbound: false,
            },
        );
    }
    // A run whose process ended before it did.
    let RunStart::First(_) = store.begin_run(id(7), begin(130)).await.unwrap() else { panic!() };
    assert!(store.delete(id(6), at(200)).await.unwrap());
    // A number that no conversation has any more.
    let _ = store.create(new(9, "bob", None, Some(NewConversation::Next)), None).await.unwrap();
    assert!(store.delete(id(9), at(201)).await.unwrap());
    for (who, file) in [("ada", "att_1"), ("bob", "att_0"), ("Zoë 🦊", "att_é")] {
        let _ = store.own_attachment(&user(who), file).await.unwrap();
    }
    let mut key = [7; 32];
    (key[0], key[31]) = (0, 255);
    assert_eq!(store.signing_key(key).await.unwrap(), key);
    let client = |name: &str, who: &str, n: i64| ClientSession {
        id: name.into(),
        user_id: user(who),
        created_at: at(n),
        expires_at: at(n + 600),
        cancelled_at: None,
        requests_per_minute: NonZeroU32::new(10).unwrap(),
        details: "{\"workflow\":{\"id\":\"wf_1\"}}".into(),
    };
    for session in
        [client("cksess_2", "ada", 10), client("cksess_1", "bob", 11), client("cksess_3", "ada", 1)]
    {
        let _ = store.create_client_session(session, NonZeroU32::new(5).unwrap()).await.unwrap();
    }
    store.cancel_client_session("cksess_1", at(20)).await.unwrap().unwrap();
    // The store's own thread writes what is settled before it closes.
    drop(store);
}
