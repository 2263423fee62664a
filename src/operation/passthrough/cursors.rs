//! Cursors of items in JSON that passes: they are sealed on the way out, and opened on the way in.
//!
//! All other bytes are as they came: nothing is written anew but the cursor itself.

use std::ops::Range;

use bytes::Bytes;
use memchr::memmem;
use serde_json::value::RawValue;

use super::splice;
use crate::chatkit::upstream::UpstreamFailure;
use crate::operation::SealedAnswer;
use crate::rejection::{Code, Rejection};
use crate::session::ItemCursors;
use crate::stream::{Named, text};

/// What an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AnswerShape {
    /// A page of items.
    Page,
    /// A thread with one in it.
    Thread,
}

/// A cursor, and where it is written.
#[derive(Debug, PartialEq, Eq)]
struct FoundCursor {
    at: Range<usize>,
    cursor: String,
}

/// Seals the cursor of an answer about a thread.
///
/// # Errors
/// If it may have a cursor that can't be found or handed out, or the store fails.
pub(super) async fn seal(
    answer: Bytes,
    shape: AnswerShape,
    cursors: &ItemCursors,
    thread_id: &str,
) -> Result<SealedAnswer, Rejection> {
    if !may_have_one(&answer) {
        return Ok(SealedAnswer::untouched(answer));
    }
    let json = std::str::from_utf8(&answer).map_err(|_| NO_JSON)?;
    let Some(FoundCursor { at, cursor }) = find(json, shape)? else {
        return Ok(SealedAnswer::untouched(answer));
    };
    let sealed = written(&cursors.seal(thread_id, &cursor).await?)?;
    let (before, behind) = (answer.slice(..at.start), answer.slice(at.end..));
    Ok(SealedAnswer::new([before, sealed.into(), behind]))
}

/// Seals the cursor of a thread of a list; `None` if it has none.
///
/// # Errors
/// As [`seal`]'s.
pub(super) async fn seal_in_row(
    thread: &RawValue,
    cursors: &ItemCursors,
    thread_id: &str,
) -> Result<Option<Box<RawValue>>, Rejection> {
    let json = thread.get();
    if !may_have_one(json.as_bytes()) {
        return Ok(None);
    }
    let Some(FoundCursor { at, cursor }) = find(json, AnswerShape::Thread)? else {
        return Ok(None);
    };
    let sealed = cursors.seal(thread_id, &cursor).await?;
    let thread = splice::replaced(json, at, &written(&sealed)?);
    RawValue::from_string(thread).map(Some).map_err(|error| defect(&error))
}

/// Puts the upstream's own cursor into a request for a page.
///
/// # Errors
/// If it has none: what was validated has.
pub(super) fn open(request: &[u8], cursor: &str) -> Result<Bytes, Rejection> {
    splice::param(request, "after", &written(cursor)?)
}

const NO_JSON: UpstreamFailure = UpstreamFailure::Protocol("the upstream's answer is no JSON");
const TWICE: UpstreamFailure =
    UpstreamFailure::Protocol("the upstream's page says twice where the next one is");

/// Tells whether there may be a member of a cursor's name, however it is written: nearly all
/// answers that have none are told by this alone.
fn may_have_one(json: &[u8]) -> bool {
    memmem::find(json, br#"after""#).is_some() || memmem::find(json, br"\u").is_some()
}

/// Finds the cursor of the page of items that an answer is or has.
///
/// A member that comes twice is refused: whoever reads the answer may take either.
fn find(json: &str, shape: AnswerShape) -> Result<Option<FoundCursor>, UpstreamFailure> {
    let no_object = || match serde_json::from_str::<&RawValue>(json) {
        // A list, for one, which is a page that is the last.
        Ok(_) => Ok(None),
        Err(_) => Err(NO_JSON),
    };
    let page = match shape {
        AnswerShape::Page => json,
        AnswerShape::Thread => {
            let Some(thread) = Named::read(json, "items") else { return no_object() };
            let Some(items) = only(&thread)? else { return Ok(None) };
            items.get()
        }
    };
    let Some(page) = Named::read(page, "after") else { return no_object() };
    let Some(after) = only(&page)? else { return Ok(None) };
    let Some(cursor) = text(after).filter(|cursor| !cursor.is_empty()) else { return Ok(None) };
    // It was read out of it.
    let at = splice::place(json, after).ok_or(NO_JSON)?;
    Ok(Some(FoundCursor { at, cursor: cursor.into_owned() }))
}

fn only<'a>(named: &Named<'a>) -> Result<Option<&'a RawValue>, UpstreamFailure> {
    if named.is_repeated { Err(TWICE) } else { Ok(named.value) }
}

fn written(string: &str) -> Result<String, Rejection> {
    serde_json::to_string(string).map_err(|error| defect(&error))
}

fn defect(error: &serde_json::Error) -> Rejection {
    Rejection::new(Code::Internal).because(format!("a cursor could not be written: {error}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http_body::Body as _;
    use http_body_util::BodyExt as _;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;
    use serde_json::Value;

    use super::*;
    use crate::bounds::MAX_CURSOR_CHARS;
    use crate::principal::UserId;
    use crate::session::MemoryStore;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    fn cursors() -> ItemCursors {
        ItemCursors::of(Arc::new(MemoryStore::new()), UserId::parse("ada").unwrap())
    }

    fn sealed(shape: AnswerShape, answer: &[u8]) -> Result<Vec<u8>, Rejection> {
        block_on(async {
            let answer = Bytes::copy_from_slice(answer);
            let body = seal(answer, shape, &cursors(), "thr_1").await?;
            let length = body.size_hint().exact().unwrap();
            let bytes = body.collect().await.unwrap().to_bytes();
            assert_eq!(u64::try_from(bytes.len()).unwrap(), length);
            Ok(bytes.into())
        })
    }

    /// Makes white space, and values that would not survive being read and written again.
    fn json() -> impl Strategy<Value = String> {
        let leaf = select(vec![
            "null",
            "true",
            "1.50",
            "-0.0e1",
            "12345678901234567890123",
            r#""""#,
            r#""\u00e4\/""#,
            r#""after""#,
            r#""\ud83d""#,
            "{}",
            "[ ]",
            r#"{"after":"theirs"}"#,
            r#"{"items":{"after":"x"},"a":1,"a":2}"#,
        ]);
        let names = || select(vec!["id", "a", "", "data", "\\u0061", "aft", "after ", "x\\n"]);
        leaf.prop_map(str::to_owned).prop_recursive(3, 20, 4, move |inner| {
            prop_oneof![
                vec(inner.clone(), 0..4).prop_map(|values| format!("[{}]", values.join(" , "))),
                vec((names(), inner), 0..4).prop_map(|members| {
                    let members = members.iter().map(|(name, json)| format!("\"{name}\" :{json}"));
                    format!("{{\n{}\t}}", members.collect::<Vec<_>>().join(","))
                }),
            ]
        })
    }

    fn members() -> impl Strategy<Value = String> {
        let names = select(vec!["id", "data", "has_more", "next", "afte", "After"]);
        vec((names, json()), 0..4).prop_map(|members| {
            let members = members.iter().map(|(name, json)| format!(" \"{name}\":{json} ,"));
            members.collect::<Vec<_>>().concat()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        // Whatever a page is, all of its bytes are as they came but the cursor's.
        #[test]
        fn nothing_is_written_anew_but_the_cursor(
            before in members(),
            behind in members(),
            name in select(vec!["after", "\\u0061fter", "aft\\u0065r"]),
            cursor in prop_oneof![
                "\\PC{1,40}".prop_map(|cursor| (cursor.clone(), serde_json::to_string(&cursor).unwrap())),
                Just(("a\u{fffd}\u{fffd}\u{fffd}".to_owned(), r#""a\ud83d""#.to_owned())),
                Just(("17".to_owned(), "17".to_owned())),
                Just(("thr~1".to_owned(), r#""\u0074hr~1""#.to_owned())),
            ],
            in_thread: bool,
        ) {
            let behind = behind.trim_end_matches(',');
            let comma = if behind.is_empty() { "" } else { " ," };
            let (mut before, mut behind) =
                (format!("\n {{{before}\"{name}\": "), format!("{comma}{behind}}}\r\n"));
            let shape = if in_thread {
                before = format!(r#"{{"after":1.0, "i\u0074ems" :{before}"#);
                behind = format!("{behind},\"after\":[\"other\"]}}");
                AnswerShape::Thread
            } else {
                AnswerShape::Page
            };
            let (cursor, written) = cursor;
            let answer = format!("{before}{written}{behind}");
            let sealed = String::from_utf8(sealed(shape, answer.as_bytes()).unwrap()).unwrap();
            let new = sealed.strip_prefix(&before).and_then(|rest| rest.strip_suffix(&behind));
            let new: Value = serde_json::from_str(new.unwrap()).unwrap();
            let (text, seal) = new.as_str().unwrap().rsplit_once('~').unwrap();
            prop_assert_eq!((text, seal.len()), (&*cursor, 22));
            // In a row of a list it is the same.
            if in_thread {
                let row = RawValue::from_string(answer.trim().to_owned()).unwrap();
                let row = block_on(seal_in_row(&row, &cursors(), "thr_1")).unwrap().unwrap();
                prop_assert_eq!(
                    row.get().split('~').next(),
                    sealed.trim().split('~').next(),
                );
            }

            // What is sent for it has that cursor, and is otherwise what was sent.
            if !in_thread {
                let request = format!("{{\"params\":{before}\"sealed\"{behind}}}");
                let opened = open(request.as_bytes(), &cursor).unwrap();
                let expected = serde_json::to_string(&cursor).unwrap();
                prop_assert_eq!(opened, format!("{{\"params\":{before}{expected}{behind}}}"));
            }
        }

        // What has no cursor is as it came, whatever it is.
        #[test]
        fn what_has_no_cursor_is_untouched(json in json(), members in members()) {
            let page = format!("{{{}}}", members.trim_end_matches(','));
            for answer in [json, page] {
                for shape in [AnswerShape::Page, AnswerShape::Thread] {
                    let is_theirs = find(&answer, shape).is_ok_and(|found| found.is_none());
                    if is_theirs {
                        prop_assert_eq!(sealed(shape, answer.as_bytes()).unwrap(), answer.as_bytes());
                    }
                }
            }
        }
    }

    #[test]
    fn what_nobody_could_send_back_is_no_cursor() {
        let untouched = [
            r#"{"data":[],"has_more":false}"#,
            r#"{"after":null}"#,
            r#"{"after":""}"#,
            r#"{"after":{"id":"x"}}"#,
            r#"{"after":["x"]}"#,
            r#"{"items":{"after":"of a thread"}}"#,
            r#"[{"after":"of a row"}]"#,
            r#""after""#,
            "{\"a\":1.50,\n\"b\":\"\\u00e4\"}",
            "no JSON at all",
            "",
        ];
        for answer in untouched {
            assert_eq!(
                sealed(AnswerShape::Page, answer.as_bytes()).unwrap(),
                answer.as_bytes(),
                "{answer}"
            );
        }
        for answer in [
            r#"{"after":"of no page"}"#,
            r#"{"items":null,"x":"after"}"#,
            r#"{"items":[{"after":"x"}]}"#,
            r#"{"items":{"data":[{"after":"x"}]}}"#,
        ] {
            assert_eq!(
                sealed(AnswerShape::Thread, answer.as_bytes()).unwrap(),
                answer.as_bytes(),
                "{answer}"
            );
        }
        // In these some reader might find one that nobody sealed.
        let tagged = "x".repeat(MAX_CURSOR_CHARS - 22);
        let too_long = format!(r#"{{"after":"{tagged}"}}"#);
        for answer in [
            &br#"{"after":"a","after":"b"}"#[..],
            br#"{"after":"a","\u0061fter":null}"#,
            br#"{"after":"a""#,
            br#"{"after":"a"} {"after":"b"}"#,
            b"{\"after\":\"a\",\"x\":\"\xff\"}",
            br#"{"after":"a",}"#,
            too_long.as_bytes(),
        ] {
            let refusal = sealed(AnswerShape::Page, answer).unwrap_err();
            assert_eq!(refusal.code(), Code::UpstreamError, "{}", answer.escape_ascii());
        }
        assert!(sealed(AnswerShape::Page, too_long.replacen('x', "", 1).as_bytes()).is_ok());
        let twice = br#"{"items":{"after":"a"},"items":{}}"#;
        assert_eq!(sealed(AnswerShape::Thread, twice).unwrap_err().code(), Code::UpstreamError);
    }

    #[test]
    fn an_answer_of_many_members_costs_no_memory_for_each() {
        let many = r#""":0,"#.repeat(100_000);
        let page = format!(r#"{{"after":"x",{many}"x":0}}"#);
        let thread = format!(r#"{{"items":{page},{many}"x":0}}"#);
        for (shape, answer) in [(AnswerShape::Page, page), (AnswerShape::Thread, thread)] {
            let counted = allocation_counter::measure(|| {
                assert_eq!(find(&answer, shape).unwrap().unwrap().cursor, "x");
            });
            assert!(counted.bytes_max < 1024, "{shape:?}: {} bytes", counted.bytes_max);
        }
    }

    #[test]
    fn a_large_answer_is_not_copied() {
        let answer = Bytes::from(format!(r#"{{"data":["{}"],"after":"a"}}"#, "x".repeat(100_000)));
        let sealed =
            block_on(seal(answer.clone(), AnswerShape::Page, &cursors(), "thr_1")).unwrap();
        let [before, _, behind] = sealed.into_pieces();
        assert_eq!(before.as_ptr(), answer.as_ptr());
        assert_eq!((&*behind, before.len()), (&b"}"[..], answer.len() - 4));
    }
}
