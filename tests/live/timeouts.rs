//! A silent server: when the status is given, and who gives up.

use crate::support::{End, Gateway, Upstream};

#[test]
fn a_slow_first_word_does_not_hold_the_status_for_longer_than_hold_for() {
    let upstream = Upstream::shared();
    let gateway = Gateway::start_with(upstream, &[("STREAM__HOLD_FOR", "200ms")]);
    let user = "timeouts-hold";
    let ada = gateway.caller(user);
    let mut exchange = ada.say(&ada.conversation(), "/stall 0");
    assert_eq!(exchange.status, 200);
    let seen = exchange.until("stream_options");
    assert!(seen.starts_with("data: {\"type\":\"thread.created\""), "{seen}");
    assert_eq!(upstream.last_stream(user).1, "open");
}

#[test]
fn silence_before_the_first_word_is_a_504() {
    let upstream = Upstream::shared();
    let settings = [("STREAM__HOLD_FOR", "60s"), ("UPSTREAM__IDLE_TIMEOUT", "300ms")];
    let gateway = Gateway::start_with(upstream, &settings);
    let user = "timeouts-first";
    let ada = gateway.caller(user);
    let reply = ada.say(&ada.conversation(), "/stall 0").finish();
    let error = reply.refusal(504, "UPSTREAM_TIMEOUT");
    assert!(error["details"]["thread_id"].as_str().unwrap().starts_with("thr_"), "{error}");
    assert_eq!(upstream.ended_stream(user).1, "cancelled");
}

#[test]
fn silence_after_the_first_word_is_a_cut() {
    let upstream = Upstream::shared();
    let gateway = Gateway::start_with(upstream, &[("UPSTREAM__IDLE_TIMEOUT", "300ms")]);
    let user = "timeouts-later";
    let ada = gateway.caller(user);
    let reply = ada.say(&ada.conversation(), "/stall 2").finish();
    assert_eq!((reply.status, reply.end), (200, End::Cut));
    assert!(reply.text().contains("word1"));
    assert_eq!(upstream.ended_stream(user).1, "cancelled");
}

#[test]
fn a_stream_may_last_longer_than_every_timeout() {
    let upstream = Upstream::shared();
    let settings = [
        ("UPSTREAM__IDLE_TIMEOUT", "1s"),
        ("UPSTREAM__FIRST_BYTE_TIMEOUT", "1s"),
        ("UPSTREAM__JSON_TIMEOUT", "1s"),
    ];
    let gateway = Gateway::start_with(upstream, &settings);
    let ada = gateway.caller("timeouts-long");
    let reply = ada.say(&ada.conversation(), "/slow 200 a b c d e f g h").finish();
    assert_eq!((reply.status, reply.end), (200, End::Clean));
    assert!(reply.text().contains("\"text\":\"a b c d e f g h\""));
}
