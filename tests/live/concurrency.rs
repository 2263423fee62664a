//! Many requests at once.

use std::sync::Barrier;
use std::thread;

use serde_json::json;

use crate::support::{Gateway, Upstream, last_item};

#[test]
fn twenty_first_messages_at_once_make_one_thread() {
    let upstream = Upstream::shared();
    let gateway = Gateway::start(upstream);
    let user = "concurrency-first";
    let ada = gateway.caller(user);
    let conversation = ada.conversation();
    let together = Barrier::new(20);

    let statuses: Vec<u16> = thread::scope(|scope| {
        let runs: Vec<_> = (0..20)
            .map(|n| {
                let (ada, conversation, together) = (&ada, &conversation, &together);
                scope.spawn(move || {
                    together.wait();
                    let reply = ada.say(conversation, &format!("number {n}")).finish();
                    if reply.status == 409 {
                        reply.refusal(409, "CONFLICT");
                        assert!(reply.header("retry-after").is_some());
                    }
                    reply.status
                })
            })
            .collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });

    // 429: more at once than one user may have under way.
    assert!(statuses.iter().all(|status| matches!(status, 200 | 409 | 429)), "{statuses:?}");
    let answered = statuses.iter().filter(|status| **status == 200).count();
    assert!(answered >= 1, "{statuses:?}");
    assert_eq!(upstream.count(user, "threads.create"), 1);
    let whole = ada.get(&format!("/sessions/{}", conversation.session)).data();
    assert_eq!(whole["messages"].as_array().unwrap().len(), 2 * answered);
    // Nothing is left locked.
    assert_eq!(last_item(&ada.said(&conversation, "at last"))["content"][0]["text"], "at last");
}

#[test]
fn sessions_are_counted_when_they_are_created_at_once() {
    let upstream = Upstream::shared();
    let gateway = Gateway::start_with(upstream, &[("LIMITS__MAX_SESSIONS", "3")]);
    let ada = gateway.caller("concurrency-sessions");
    let together = Barrier::new(12);
    let created = thread::scope(|scope| {
        let calls: Vec<_> = (0..12)
            .map(|_| {
                scope.spawn(|| {
                    together.wait();
                    let reply = ada.post("/sessions", &json!({}));
                    if reply.status == 200 {
                        return 1;
                    }
                    reply.refusal(429, "SESSION_LIMIT");
                    0
                })
            })
            .collect();
        calls.into_iter().map(|call| call.join().unwrap()).sum::<u32>()
    });
    assert_eq!(created, 3);
    assert_eq!(ada.get("/sessions").value()["meta"]["total"], 3);
}

#[test]
fn streams_of_many_users_do_not_mix() {
    let upstream = Upstream::shared();
    let gateway = Gateway::start(upstream);
    thread::scope(|scope| {
        for n in 0..16 {
            let gateway = &gateway;
            scope.spawn(move || {
                let user = format!("concurrency-user-{n}");
                let caller = gateway.caller(&user);
                let conversation = caller.conversation();
                let reply = caller.say(&conversation, "/long 200").finish();
                let (sent, end) = upstream.ended_stream(&user);
                assert_eq!((reply.status, end.as_str()), (200, "clean"));
                assert!(sent == reply.body);
            });
        }
    });
}
