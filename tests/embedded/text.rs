//! Texts go through unharmed.

use chatkit_rest::embedded::Json;
use proptest::prelude::*;

use crate::client::{create, items, kind, server, string, text_of};

/// Makes any text that is no command.
fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        proptest::collection::vec(
            prop_oneof![
                Just('\n'),
                Just('\r'),
                Just('\0'),
                Just('\u{85}'),
                Just('\u{2028}'),
                Just('"'),
                Just('\\'),
                Just(' '),
                Just('\u{feff}'),
                Just('\u{7f}'),
                Just('x'),
                any::<char>()
            ],
            0..40
        )
        .prop_map(|chars| chars.into_iter().collect()),
    ]
    .prop_filter("a command", |text: &String| !text.starts_with('/') && !text.is_empty())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_comes_back_exactly(text in texts()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let server = server();
            let answer = create(&server, &text).await;
            let expected = format!("You said: {text}");
            prop_assert_eq!(text_of(&answer.last_item()), expected.clone());
            prop_assert_eq!(text_of(answer.events()[1].get("item").unwrap()), text.clone());

            let deltas = answer.events();
            let deltas = deltas.iter().filter(|event| kind(event).ends_with("text_delta"));
            let said: String =
                deltas.map(|event| string(event.get("update").unwrap(), "delta")).collect();
            prop_assert_eq!(said, expected.clone());

            let stored: Vec<String> = items(&server, &answer.thread_id()).await.iter().map(text_of).collect();
            prop_assert_eq!(stored, vec![text.clone(), expected]);
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn what_is_hard_to_get_right_is_right() {
    let server = server();
    let answer = create(&server, "/unicode").await;
    let text = text_of(&answer.last_item());
    for part in ["\u{2028}", "\u{85}", "\r\n", "\0", "\u{1d4b3}", "\n\ndata: fake\n\n"] {
        assert!(text.contains(part), "{part:?}");
    }
    // Escaped are only those characters that JSON can't have in a string.
    let last = answer.frames.last().unwrap();
    let last = std::str::from_utf8(last).unwrap();
    assert!(last.contains("\u{2028}") && last.contains("\\u0007") && last.contains('\u{7f}'));
}

#[tokio::test]
async fn a_long_answer_is_sent_piece_by_piece_and_whole() {
    let server = server();
    let answer = create(&server, "/long 2000").await;
    let deltas = answer.types().iter().filter(|kind| kind.ends_with("text_delta")).count();
    assert_eq!(deltas, 2000);
    assert!(text_of(&answer.last_item()).ends_with("token1998 token1999 "));
    let part_done = &answer.events()[answer.frames.len() - 2];
    assert_eq!(kind(part_done), "assistant_message.content_part.done");
    let part = part_done.get("update").unwrap().get("content").unwrap();
    assert_eq!(part.get("text").and_then(Json::as_str), Some(&*text_of(&answer.last_item())));
}
