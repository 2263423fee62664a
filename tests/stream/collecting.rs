//! A run read to its end, for an answer in JSON.

use bytes::Bytes;
use chatkit_rest::stream::{NoObserver, RunFailure, RunFailureCause, Transcript, Watch, collect};
use proptest::prelude::*;

use crate::events::stream;
use crate::support::{Script, Step, cut, cuts, event, now};

const CREATED: &str = r#"{"type":"thread.created","thread":{"id":"thr_1"}}"#;
const ERROR: &str = r#"{"type":"error","code":"stream.error","allow_retry":true}"#;
const OPTIONS: &str = r#"{"type":"stream_options"}"#;

fn collected(events: &[&str]) -> Result<Transcript, RunFailure> {
    now(collect(Watch::new(Script::text(events), NoObserver), 100_000))
}

fn about(kind: &str, item: &str) -> String {
    format!(r#"{{"type":"{kind}","item":{item}}}"#)
}

fn texts(transcript: &Transcript) -> Vec<&str> {
    transcript.items.iter().map(|item| item.get()).collect()
}

#[test]
fn items_are_kept_as_they_were_written_and_in_order() {
    let user = r#"{"type":"user_message","id":"m1","content":[ 1.0,"\u00f6" ]}"#;
    let answer = r#"{ "id":"m2", "type":"assistant_message" }"#;
    let transcript = collected(&[
        CREATED,
        &about("thread.item.done", user),
        OPTIONS,
        &about("thread.item.added", r#"{"id":"m2","type":"assistant_message"}"#),
        &about("thread.item.done", answer),
        "[DONE]",
    ])
    .unwrap();
    assert_eq!(texts(&transcript), [user, answer]);
    assert_eq!(transcript.thread_id.as_deref(), Some("thr_1"));
    assert!(!transcript.has_effects);
}

#[test]
fn what_the_client_is_told_to_do_is_noted() {
    let effect = r#"{"type":"client_effect","name":"confetti","data":{}}"#;
    let transcript = collected(&[CREATED, effect]).unwrap();
    assert!(transcript.has_effects && transcript.items.is_empty());
}

#[test]
fn items_are_replaced_in_place_and_removed() {
    let item = |id: &str, n: u32| format!(r#"{{"id":"{id}","type":"widget","n":{n}}}"#);
    let done = |id, n| about("thread.item.done", &item(id, n));
    let replaced = |id, n| about("thread.item.replaced", &item(id, n));
    let removed = |id: &str| format!(r#"{{"type":"thread.item.removed","item_id":"{id}"}}"#);
    let events = [
        done("a", 1),
        done("b", 1),
        done("c", 1),
        replaced("a", 2),
        removed("b"),
        removed("nobody"),
        // The server calls it replaced; that it was never done is no reason to lose it.
        replaced("d", 1),
        // Upstreams reuse ids: the latest of that name is meant.
        done("a", 3),
        replaced("a", 4),
    ];
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    let transcript = collected(&events).unwrap();
    assert_eq!(texts(&transcript), [item("a", 2), item("c", 1), item("d", 1), item("a", 4)]);
    assert_eq!(transcript.thread_id, None);
}

#[test]
fn hidden_items_are_left_out() {
    let events: Vec<String> = ["hidden_context_item", "sdk_hidden_context", "assistant_message"]
        .iter()
        .flat_map(|kind| {
            let item = format!(r#"{{"id":"{kind}","type":"{kind}"}}"#);
            [about("thread.item.done", &item), about("thread.item.replaced", &item)]
        })
        .collect();
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    let transcript = collected(&events).unwrap();
    assert_eq!(texts(&transcript), [r#"{"id":"assistant_message","type":"assistant_message"}"#]);
}

#[test]
fn an_item_is_kept_whatever_is_odd_in_it() {
    let odd = [
        r#"{"id":7,"type":"assistant_message","content":"Hello"}"#,
        r#"{"type":"assistant_message","content":null}"#,
        r#"{"id":null,"type":"widget"}"#,
        r#"{"id":"a","type":7}"#,
        r#"{"id":"b"}"#,
        r#"{"id":"c","id":"d","type":"x","type":"widget","x":"\ud83d"}"#,
    ];
    let events = odd.map(|item| about("thread.item.done", item));
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    assert_eq!(texts(&collected(&events).unwrap()), odd);

    // Ids are compared as what they say.
    let seven = r#"{"id":"7","type":"widget"}"#;
    let transcript = collected(&[events[0], &about("thread.item.replaced", seven)]).unwrap();
    assert_eq!(texts(&transcript), [seven]);
    let removed = r#"{"item_id":7,"type":"x","type":"thread.item.removed","y":[]}"#;
    assert_eq!(texts(&collected(&[events[0], removed]).unwrap()), Vec::<&str>::new());
    // What has no id is not mistaken for another that has none.
    let replaced = about("thread.item.replaced", odd[2]);
    assert_eq!(texts(&collected(&[events[1], &replaced]).unwrap()), odd[1..3]);
}

#[test]
fn a_hidden_item_is_left_out_whatever_is_odd_in_it() {
    for hidden in [
        r#"{"id":7,"type":"hidden_context_item"}"#,
        r#"{"type":"sdk_hidden_context"}"#,
        r#"{"id":"a","id":"b","type":"sdk_hidden_context","type":"assistant_message"}"#,
    ] {
        let done = about("thread.item.done", hidden);
        let shown = r#"{"id":"c","type":"widget"}"#;
        let transcript = collected(&[&done, &about("thread.item.done", shown)]).unwrap();
        assert_eq!(texts(&transcript), [shown], "{hidden}");
    }
    // Nor is what it was before it was hidden.
    let done = about("thread.item.done", r#"{"id":"m","type":"assistant_message"}"#);
    let replaced = about("thread.item.replaced", r#"{"id":"m","type":"hidden_context_item"}"#);
    assert_eq!(texts(&collected(&[&done, &replaced]).unwrap()), Vec::<&str>::new());
}

#[test]
fn what_nobody_knows_passes_anywhere() {
    let done = about("thread.item.done", r#"{"id":"a","type":"widget"}"#);
    let unknown =
        ["[DONE]", "[1,{}]", "7", "null", "{}", r#"{"type":"new"}"#, r#"{"type":7}"#, "{"];
    let mut events: Vec<&str> = unknown.to_vec();
    events.extend([CREATED, &done]);
    events.extend(unknown);
    let transcript = collected(&events).unwrap();
    assert_eq!(texts(&transcript), [r#"{"id":"a","type":"widget"}"#]);
    assert_eq!(transcript.thread_id.as_deref(), Some("thr_1"));
}

#[test]
fn a_run_of_which_something_cannot_be_told_fails() {
    let begun = about("thread.item.added", r#"{"id":"m","type":"assistant_message"}"#);
    let removed = r#"{"type":"thread.item.removed","item_id":"m"}"#;
    let begun_too = about("thread.item.added", r#"{"id":"n","type":"assistant_message"}"#);
    let odd_begun = about("thread.item.added", r#"{"id":"m","role":"assistant"}"#);
    let delta = r#"{"type":"thread.item.updated","item_id":"m","update":{"type":"assistant_message.content_part.text_delta","content_index":0,"delta":"x"}}"#;
    let call = about("thread.item.done", r#"{"id":"c","type":"client_tool_call"}"#);
    let finished = about("thread.item.done", r#"{"id":"m","type":"assistant_message"}"#);
    let widget = about("thread.item.done", r#"{"id":"w","type":"widget"}"#);
    let answer = about("thread.item.done", r#"{"id":"n","type":"assistant_message"}"#);
    let nan = r#"{"type":"thread.item.done","item":{"id":"m","type":"assistant_message","x":NaN}}"#;
    for (events, fails) in [
        (&[&*about("thread.item.done", "null")][..], true),
        (&[&*about("thread.item.done", "[]")], true),
        (&[&*about("thread.item.replaced", "\"m\"")], true),
        (&[r#"{"type":"thread.item.done"}"#], true),
        (&[nan, &answer], true),
        (&[&begun], true),
        (&[&begun, &widget], true),
        (&[&begun, &call], true),
        (&[&begun, &call, &finished], false),
        (&[&begun, &widget, removed], false),
        // With another id than it was begun with.
        (&[&begun, &answer], false),
        (&[&begun, &begun_too, &finished], true),
        (&[&begun, &begun_too, &finished, &answer], false),
        (&[&odd_begun, &call], true),
        // Nobody announced it.
        (&[delta], true),
        (&[delta, delta, &call], true),
        (&[delta, delta, &finished, delta], false),
        (&[delta, removed, &call], false),
        (
            &[
                r#"{"type":"thread.item.updated","item_id":"w","update":{"type":"widget.root.updated"}}"#,
                &widget,
            ],
            false,
        ),
        (
            &[
                r#"{"type":"thread.item.updated"}"#,
                r#"{"type":"thread.item.updated","item_id":[]}"#,
                &widget,
            ],
            false,
        ),
        // Nothing says what it is.
        (&[&about("thread.item.done", r#"{"id":"a","type":7}"#)], true),
        (&[&about("thread.item.done", "{}")], true),
        (&[&about("thread.item.done", "{}"), &widget], false),
        (&[r#"{"type":"thread.item.added"}"#, &widget], false),
    ] {
        match collected(events) {
            Ok(_) => assert!(!fails, "{events:?}"),
            Err(failure) => {
                assert!(fails, "{events:?}");
                assert!(matches!(failure.cause, RunFailureCause::Unreadable), "{failure:?}");
            }
        }
    }
    // Bytes that are no text are replaced in what they stand in.
    let mut broken =
        event(&about("thread.item.done", r#"{"id":"a","type":"widget","x":"_"}"#)).to_vec();
    let place = broken.iter().position(|&byte| byte == b'_').unwrap();
    broken[place] = 0xff;
    let script = Script::new([Step::Data(broken.into())]);
    let transcript = now(collect(Watch::new(script, NoObserver), 1000)).unwrap();
    assert_eq!(texts(&transcript), ["{\"id\":\"a\",\"type\":\"widget\",\"x\":\"\u{fffd}\"}"]);
}

#[test]
fn an_error_event_fails_the_run_even_after_output() {
    let done = about("thread.item.done", r#"{"id":"a","type":"widget"}"#);
    for events in [&[CREATED, ERROR][..], &[CREATED, &done, ERROR], &[CREATED, ERROR, &done]] {
        let failure = collected(events).unwrap_err();
        assert!(matches!(failure.cause, RunFailureCause::ErrorEvent(_)), "{events:?}");
        assert_eq!(failure.preamble.thread_id.as_deref(), Some("thr_1"));
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_event_before_any_output_is_waited_on_a_quarter_of_a_second_at_most() {
    let done = about("thread.item.done", r#"{"id":"a","type":"widget"}"#);
    let updated = r#"{"type":"thread.updated","thread":{"id":"thr_1"}}"#;
    for events in [&[CREATED, ERROR][..], &[CREATED, ERROR, updated, "[DONE]"]] {
        let begun = tokio::time::Instant::now();
        let script = Script::text(events).then(Step::Stall);
        let failure = collect(Watch::new(script, NoObserver), 1000).await.unwrap_err();
        assert!(matches!(failure.cause, RunFailureCause::ErrorEvent(_)), "{events:?}");
        assert!(begun.elapsed() <= std::time::Duration::from_millis(251));
        let script = Script::text(events).then(Step::Cut);
        let failure = collect(Watch::new(script, NoObserver), 1000).await.unwrap_err();
        assert!(matches!(failure.cause, RunFailureCause::ErrorEvent(_)), "{events:?}");
    }
    // An answer that goes on is read to its end, or the upstream would take it back.
    let script = Script::text(&[CREATED, ERROR, &done]).then(Step::Stall);
    let reading = collect(Watch::new(script, NoObserver), 1000);
    assert!(tokio::time::timeout(std::time::Duration::from_secs(60), reading).await.is_err());
}

#[test]
fn what_says_nothing_is_no_answer() {
    let updated = r#"{"type":"thread.updated","thread":{"id":"thr_1"}}"#;
    for events in [&["[DONE]"][..], &[CREATED, OPTIONS, updated], &[CREATED, "", "{}", "[DONE]"]] {
        let failure = collected(events).unwrap_err();
        assert!(matches!(failure.cause, RunFailureCause::Ended), "{events:?}");
    }
    let user = r#"{"id":"u","type":"user_message"}"#;
    for nothing in [
        r#"{"type":"done"}"#,
        r#"{"type":"ping"}"#,
        r#"{"type":"thread.status.changed","status":"idle"}"#,
        r#"{"type":"thread.item.removed","item_id":"x"}"#,
        &about("thread.item.added", r#"{"id":"w","type":"widget"}"#),
        &about("thread.item.added", r#"{"id":"h","type":"hidden_context_item"}"#),
        &about("thread.item.replaced", r#"{"id":"c","type":"client_tool_call"}"#),
        &about("thread.item.done", r#"{"id":"h","type":"sdk_hidden_context"}"#),
        &about("thread.item.done", r#"{"id":"e","type":"end_of_turn"}"#),
        &about("thread.item.done", r#"{"id":"v","role":"user","content":"Hi"}"#),
        &about("thread.item.replaced", user),
    ] {
        let events = [CREATED, &about("thread.item.done", user), OPTIONS, nothing, nothing];
        let failure = collected(&events).unwrap_err();
        assert!(matches!(failure.cause, RunFailureCause::Ended), "{nothing} {failure:?}");
    }
}

#[test]
fn what_is_no_item_may_be_all_that_a_run_has() {
    for told in [
        r#"{"type":"client_effect","name":"x"}"#,
        r#"{"type":"notice","level":"info","message":"x"}"#,
        r#"{"type":"progress_update","text":"x"}"#,
    ] {
        assert!(collected(&[CREATED, OPTIONS, told]).unwrap().has_effects, "{told}");
    }
    // An answer that was taken back was one.
    let done = about("thread.item.done", r#"{"id":"m","content":"Hi"}"#);
    let removed = r#"{"type":"thread.item.removed","item_id":"m"}"#;
    assert!(collected(&[CREATED, &done, removed]).unwrap().items.is_empty());
}

#[test]
fn what_is_cut_or_empty_or_too_large_fails() {
    assert!(matches!(collected(&[]).unwrap_err().cause, RunFailureCause::Ended));
    assert!(matches!(collected(&[CREATED, OPTIONS]).unwrap_err().cause, RunFailureCause::Ended));

    let added = r#"{"type":"thread.item.added"}"#;
    let script = Script::text(&[added]).then(Step::Cut);
    let failure = now(collect(Watch::new(script, NoObserver), 1000)).unwrap_err();
    assert!(matches!(failure.cause, RunFailureCause::Broken(_)));

    let done = r#"{"type":"thread.item.done","item":{"type":"widget"}}"#;
    let length = event(done).len() * 3;
    for (max_bytes, fits) in [(length, true), (length - 1, false)] {
        let watch = Watch::new(Script::text(&[done; 3]), NoObserver);
        match now(collect(watch, max_bytes)) {
            Ok(_) => assert!(fits),
            Err(failure) => {
                assert!(!fits);
                assert!(matches!(failure.cause, RunFailureCause::TooLarge));
                assert_eq!(failure.events, 3, "what came was read before it was counted");
            }
        }
    }
}

/// Gives all of an outcome that does not depend on frames.
fn outcome(frames: &[Bytes]) -> Result<(Vec<String>, Option<String>), String> {
    match now(collect(Watch::new(Script::frames(frames), NoObserver), usize::MAX)) {
        Ok(Transcript { items, thread_id, .. }) => {
            Ok((items.iter().map(|item| item.get().to_owned()).collect(), thread_id))
        }
        Err(failure) => Err(format!("{failure:?}")),
    }
}

proptest! {
    #[test]
    fn any_cut_collects_the_same(stream in stream(), cuts in cuts()) {
        let whole = outcome(std::slice::from_ref(&stream));
        prop_assert_eq!(outcome(&cut(&stream, &cuts)), whole.clone());
        let bytewise: Vec<_> = (0..stream.len()).map(|at| stream.slice(at..=at)).collect();
        prop_assert_eq!(outcome(&bytewise), whole);
    }
}
