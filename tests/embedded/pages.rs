//! Lists.

use chatkit_rest::embedded::{Embedded, Json};

use crate::client::{add, array, create, op, server, string, text_of};

struct Page {
    ids: Vec<String>,
    after: Option<String>,
}

fn page(json: &Json) -> Page {
    let after = json.get("after").and_then(Json::as_str).map(str::to_owned);
    assert_eq!(json.get("has_more"), Some(&Json::Bool(after.is_some())), "{json}");
    Page {
        ids: array(json.get("data").unwrap()).iter().map(|row| string(row, "id")).collect(),
        after,
    }
}

async fn threads(server: &Embedded, params: &str) -> Page {
    page(&op(server, "threads.list", params).await.json())
}

#[tokio::test]
async fn threads_come_newest_first_in_pages_of_twenty() {
    let server = server();
    let mut made = Vec::new();
    for n in 0..23 {
        made.push(create(&server, &format!("thread {n}")).await.thread_id());
    }
    let oldest_first = made.clone();
    made.reverse();

    for params in ["{}", r#"{"limit":0}"#, r#"{"limit":null,"after":"thr_nope"}"#] {
        let first = threads(&server, params).await;
        assert_eq!(first.ids, made[..20], "{params}");
        assert_eq!(first.after.as_ref(), Some(&made[19]));
    }
    let rest = threads(&server, &format!(r#"{{"after":"{}"}}"#, made[19])).await;
    assert_eq!((&rest.ids[..], rest.after), (&made[20..], None));

    let all = threads(&server, r#"{"limit":9999,"order":"asc"}"#).await;
    assert_eq!((all.ids, all.after), (oldest_first, None));
    assert_eq!(threads(&server, r#"{"limit":23}"#).await.after, None);
    assert_eq!(threads(&server, r#"{"limit":"2"}"#).await.ids, made[..2]);
    let listed = op(&server, "threads.list", r#"{"limit":1}"#).await.json().to_string();
    assert!(listed.contains(r#""metadata":{},"items":{"data":[],"has_more":false}}"#), "{listed}");
}

#[tokio::test]
async fn items_come_in_either_order() {
    let server = server();
    let thread_id = create(&server, "0").await.thread_id();
    for n in 1..13 {
        add(&server, &thread_id, &n.to_string()).await;
    }
    let list = |rest: &str| format!(r#"{{"thread_id":"{thread_id}"{rest}}}"#);
    let newest = op(&server, "items.list", &list("")).await.json();
    assert_eq!(text_of(&array(newest.get("data").unwrap())[0]), "You said: 12");
    let first = page(&newest);
    assert_eq!(first.ids.len(), 20);
    let after = format!(r#","after":"{}""#, first.after.unwrap());
    let second = page(&op(&server, "items.list", &list(&after)).await.json());
    assert_eq!((second.ids.len(), second.after), (6, None));

    let oldest = op(&server, "threads.get_by_id", &list("")).await.json();
    let oldest = page(oldest.get("items").unwrap());
    assert_eq!(oldest.ids.len(), 20);
    let after = format!(r#","order":"asc","after":"{}""#, oldest.after.unwrap());
    let rest = page(&op(&server, "items.list", &list(&after)).await.json());
    let mut up = [oldest.ids, rest.ids].concat();
    up.reverse();
    assert_eq!(up, [first.ids, second.ids].concat());
}

#[tokio::test]
async fn hidden_items_count_but_are_not_shown() {
    let server = server();
    let thread_id = create(&server, "/hidden").await.thread_id();
    let params = format!(r#"{{"thread_id":"{thread_id}","order":"asc","limit":2}}"#);
    let short = op(&server, "items.list", &params).await.json();
    let short = page(&short);
    assert_eq!(short.ids.len(), 1);
    let after = short.after.unwrap();
    assert_ne!(after, short.ids[0], "the cursor names an item that nobody has seen");
    let params = format!(r#"{{"thread_id":"{thread_id}","order":"asc","after":"{after}"}}"#);
    let rest = page(&op(&server, "items.list", &params).await.json());
    assert_eq!((rest.ids.len(), rest.after), (1, None));
}

#[tokio::test]
async fn a_list_of_nothing_is_a_page() {
    let server = server();
    let nothing = r#"{"data":[],"has_more":false}"#;
    let items = op(&server, "items.list", r#"{"thread_id":"thr_nope"}"#).await.json();
    assert_eq!(items.to_string(), nothing);
    assert_eq!(op(&server, "threads.list", "{}").await.json().to_string(), nothing);
}

#[tokio::test]
async fn a_page_of_long_items_is_shorter_and_says_so() {
    let server = server();
    let long = "x".repeat(1_000_000);
    let thread_id = create(&server, &long).await.thread_id();
    for _ in 1..6 {
        add(&server, &thread_id, &long).await;
    }
    let (mut read, mut after, mut pages) = (0, String::new(), 0);
    loop {
        let params = format!(r#"{{"thread_id":"{thread_id}","limit":100{after}}}"#);
        let page = page(&op(&server, "items.list", &params).await.json());
        assert!((1..=8).contains(&page.ids.len()), "{}", page.ids.len());
        (read, pages) = (read + page.ids.len(), pages + 1);
        let Some(last) = page.after else { break };
        assert_eq!(Some(&last), page.ids.last());
        after = format!(r#","after":"{last}""#);
    }
    assert_eq!((read, pages), (12, 2));
}
