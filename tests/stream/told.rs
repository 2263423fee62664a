//! What an observer is told, against a parser that is plain and slow.

use chatkit_rest::stream::{End, HoldPolicy, NoObserver, Preamble, RunFailureCause, Watch, hold};
use proptest::prelude::*;

use crate::events::{event_data, expected, reference_fact, stream};
use crate::support::{Recorder, Script, Told, cut, cuts, drain, event};

/// What `hold` came to, as far as that can be compared.
#[derive(Debug, PartialEq)]
enum Decision {
    Committed,
    Refused(&'static str, Preamble, u64),
}

fn decision(script: Script) -> Decision {
    let policy = HoldPolicy::default().with_hold_bytes(usize::MAX);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    match runtime.block_on(hold(Watch::new(script, NoObserver), policy)) {
        Ok(_) => Decision::Committed,
        Err(failure) => {
            let cause = match failure.cause {
                RunFailureCause::ErrorEvent(_) => "error",
                RunFailureCause::Ended => "ended",
                other => panic!("{other:?}"),
            };
            Decision::Refused(cause, failure.preamble, failure.events)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, ..ProptestConfig::default() })]

    // One event, its members in any order and nested in any way: the reader of fields and
    // serde_json agree on it.
    #[test]
    fn the_fields_of_an_event_are_those_that_serde_json_finds(json in event_data()) {
        let recorder = Recorder::default();
        drain(Watch::new(Script::frames(&[event(&json)]), recorder.clone())).1.unwrap();
        let fact = recorder.told().into_iter().find_map(|told| match told {
            Told::Event(fact) => Some(fact),
            _ => None,
        });
        prop_assert_eq!(fact, Some(reference_fact(&json)));
    }
}

proptest! {
    #[test]
    fn any_cut_tells_what_the_reference_parser_tells(stream in stream(), cuts in cuts()) {
        let mut expected = expected(&stream);
        let failed = expected
            .iter()
            .any(|told| matches!(told, Told::Event(fact) if fact.error.is_some()));
        expected.push(Told::Ended(if failed { End::Failed } else { End::Complete }));
        let bytewise: Vec<_> = (0..stream.len()).map(|at| stream.slice(at..=at)).collect();
        for frames in [vec![stream.clone()], cut(&stream, &cuts), bytewise] {
            let recorder = Recorder::default();
            drain(Watch::new(Script::frames(&frames), recorder.clone())).1.unwrap();
            prop_assert_eq!(&recorder.told(), &expected);
        }
    }

    #[test]
    fn the_hold_decides_the_same_for_any_cut(stream in stream(), cuts in cuts()) {
        let whole = decision(Script::frames(std::slice::from_ref(&stream)));
        // How much was seen by then depends on the frames; the verdict doesn't.
        let verdict = |decision: &Decision| match decision {
            Decision::Committed => "committed",
            Decision::Refused(cause, ..) => cause,
        };
        let bytewise: Vec<_> = (0..stream.len()).map(|at| stream.slice(at..=at)).collect();
        for frames in [cut(&stream, &cuts), bytewise] {
            prop_assert_eq!(verdict(&decision(Script::frames(&frames))), verdict(&whole));
        }
    }
}

#[test]
fn an_item_id_before_the_type_is_not_taken_for_the_thread() {
    let json = r#"{"item":{"id":"msg_1"},"type":"thread.created","thread":{"id":"thr_1"}}"#;
    for size in 1..json.len() {
        let stream = event(json);
        let frames: Vec<_> = stream.chunks(size).map(|chunk| stream.slice_ref(chunk)).collect();
        let recorder = Recorder::default();
        drain(Watch::new(Script::frames(&frames), recorder.clone())).1.unwrap();
        assert_eq!(recorder.told()[0], Told::Created("thr_1".to_owned()), "pieces of {size}");
    }
}

#[test]
fn what_is_longer_than_is_kept_is_left_out() {
    let long = "x".repeat(513);
    let json = format!(r#"{{"type":"thread.created","thread":{{"id":"{long}","title":"t"}}}}"#);
    let recorder = Recorder::default();
    drain(Watch::new(Script::text(&[&json]), recorder.clone())).1.unwrap();
    let Told::Event(fact) = &recorder.told()[0] else { panic!("nothing announced") };
    assert_eq!((fact.id.as_deref(), fact.title.as_deref()), (None, Some("t")));
}

#[test]
fn what_comes_twice_is_told_alike_however_it_is_cut() {
    let twice = [
        r#"{"type":"thread.created","thread":{"id":"thr_1","id":"thr_2"}}"#,
        r#"{"type":"thread.created","thread":{"id":"thr_1"},"thread":{"id":7}}"#,
        r#"{"type":"thread.created","thread":{"id":"thr_1"},"type":"error"}"#,
        // No JSON at all, and not told from it in the middle.
        r#"{"type":"thread.created","thread":{"id":"thr_1"e"created_at":"2026"}}"#,
    ];
    for json in twice {
        let stream = event(json);
        let told = |frames: &[_]| {
            let recorder = Recorder::default();
            drain(Watch::new(Script::frames(frames), recorder.clone())).1.unwrap();
            recorder.told()
        };
        let whole = told(std::slice::from_ref(&stream));
        assert!(whole.contains(&Told::Created("thr_1".into())), "{whole:?}");
        for at in 0..stream.len() {
            let cut = [stream.slice(..at), stream.slice(at..)];
            assert_eq!(told(&cut), whole, "{json} cut at {at}");
        }
    }
}
