use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::HeaderValue;
use http_body_util::BodyExt as _;
use jiff::{SignedDuration, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};
use tower::service_fn;

use super::*;
use crate::chatkit::ChatKitSettings;
use crate::principal::UserId;
use crate::session::{
    BeginRun, Bound, Created, Deletion, MemoryStore, NewSession, RunId, Runs as _, SessionId,
    Sessions as _, ThreadPlace, ThreadsPage,
};

/// The caller's threads, and an upstream that lists them and others' in any order.
struct World {
    store: Arc<MemoryStore>,
    /// Sessions and threads, in the store's order.
    own: Vec<(SessionId, String)>,
    listed: Arc<Mutex<Vec<String>>>,
    /// The most rows that the upstream gives at once.
    rows: usize,
    requests: Arc<Mutex<usize>>,
    max_reply_bytes: usize,
}

fn ada() -> UserId {
    UserId::parse("ada").unwrap()
}

impl World {
    async fn new(own: usize, others: usize, rows: usize) -> Self {
        let mut world = Self {
            store: Arc::new(MemoryStore::new()),
            own: Vec::new(),
            listed: Arc::default(),
            rows,
            requests: Arc::default(),
            max_reply_bytes: 1_000_000,
        };
        for _ in 0..own {
            world.add().await;
        }
        let others = (0..others).map(|n| format!("thr_other_{n}"));
        world.listed.lock().unwrap().extend(others);
        world
    }

    async fn add(&mut self) -> String {
        let n = self.own.len();
        // Every other one is bound at the same instant as the one before.
        let seconds = i64::try_from(n.div_ceil(2)).unwrap();
        let now = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds);
        let (title, run) = (Some("of the store".to_owned()), RunId::random());
        let first_run = Some(BeginRun::new(run, now));
        let session = NewSession { title, first_run, ..NewSession::new(ada(), now) };
        let id = session.id;
        let created = self.store.create(session, None).await.unwrap();
        assert!(matches!(created, Created::Session(_)));
        let thread = format!("thr_{n}");
        let bound = self.store.bind(id, &ada(), run, thread.clone().into(), now).await.unwrap();
        assert_eq!(bound, Bound::Done);
        self.own.push((id, thread.clone()));
        self.listed.lock().unwrap().push(thread.clone());
        thread
    }

    /// Has the upstream list what it has in another order.
    fn shuffle(&self, keys: &[u16]) {
        let mut listed = self.listed.lock().unwrap();
        let mut keys = keys.iter().cycle();
        listed.sort_by_cached_key(|_| keys.next().copied());
    }

    fn lose(&self, thread: &str) {
        self.listed.lock().unwrap().retain(|listed| listed != thread);
    }

    async fn page(&self, limit: i64, ascending: bool, after: Option<&str>) -> Value {
        let (listed, requests) = (Arc::clone(&self.listed), Arc::clone(&self.requests));
        let most = self.rows;
        let service = service_fn(move |request: Request<Full<Bytes>>| {
            let (listed, requests) = (Arc::clone(&listed), Arc::clone(&requests));
            async move {
                *requests.lock().unwrap() += 1;
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let body: Value = serde_json::from_slice(&body).unwrap();
                let params = &body["params"];
                let rows = usize::try_from(params["limit"].as_u64().unwrap()).unwrap();
                assert_eq!(rows, 100);
                let from = params["after"].as_str().map_or(0, |after| after.parse().unwrap());
                let listed = listed.lock().unwrap();
                let to = (from + rows.min(most)).min(listed.len());
                let rows: Vec<_> =
                    listed[from..to].iter().map(|id| json!({"id": id, "real": true})).collect();
                let mut page = json!({"data": rows, "has_more": to < listed.len()});
                page["after"] = to.to_string().into();
                let mut response = Response::new(Full::new(Bytes::from(page.to_string())));
                let json = HeaderValue::from_static("application/json");
                response.headers_mut().insert(http::header::CONTENT_TYPE, json);
                Ok::<_, Infallible>(response)
            }
        });
        let settings =
            ChatKitSettings { max_reply_bytes: self.max_reply_bytes, ..ChatKitSettings::default() };
        let mut upstream = Upstream::with(service, settings);
        let after = after.map(|after| {
            let (place, _seal) = after.split_once('~').unwrap();
            ThreadPlace::parse(place).unwrap()
        });
        let page = ThreadsPage { user_id: Some(ada()), ascending, after, until: None, limit: 0 };
        let store = Arc::<MemoryStore>::clone(&self.store);
        let own = OwnThreads::of(store, page, ada());
        let wanted = WantedPage { asked: Some(limit), ascending, after: None };
        *self.requests.lock().unwrap() = 0;
        let reply = list(&mut upstream, own, &wanted).await.unwrap();
        assert!(*self.requests.lock().unwrap() <= 10 + self.own.len() / 100);
        let body = reply.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice(&body).unwrap()
    }

    /// Gives the caller's in the store's order.
    fn in_order(&self, ascending: bool) -> Vec<String> {
        let mut own = self.own.clone();
        // Ties are by id.
        own.sort_by_key(|(id, thread)| {
            let n: usize = thread["thr_".len()..].parse().unwrap();
            (n.div_ceil(2), *id)
        });
        if !ascending {
            own.reverse();
        }
        own.into_iter().map(|(_, thread)| thread).collect()
    }
}

fn ids(page: &Value) -> Vec<String> {
    let rows = page["data"].as_array().unwrap();
    rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    // Whatever the upstream's order is, between two pages too, and whether or not all of its
    // list can be read.
    #[test]
    fn nothing_comes_twice_and_nothing_is_lost(
        own in 0_usize..40,
        others in 0_usize..200,
        rows in 1_usize..40,
        limit in 1_i64..50,
        ascending: bool,
        keys in vec(any::<u16>(), 1..60),
        lost in vec(0_usize..40, 0..6),
        meanwhile in vec((0_usize..40, any::<bool>()), 0..4),
    ) {
        block_on(async {
            let mut world = World::new(own, others, rows).await;
            let lost = lost.iter().filter(|n| **n < own);
            let mut lost: Vec<_> = lost.map(|n| format!("thr_{n}")).collect();
            for thread in &lost {
                world.lose(thread);
            }
            let lost_before = lost.clone();
            let (mut made, mut deleted) = (Vec::new(), Vec::new());
            let mut meanwhile = meanwhile.into_iter();
            let (mut shown, mut after) = (Vec::new(), None::<String>);
            let mut is_read_to_the_end = true;
            for round in 0.. {
                assert!(round < 100, "it doesn't end");
                world.shuffle(&keys[round % keys.len()..]);
                is_read_to_the_end &= world.listed.lock().unwrap().len() <= rows * 10;
                let page = world.page(limit, ascending, after.as_deref()).await;
                let threads = ids(&page);
                assert!(threads.len() <= usize::try_from(limit).unwrap());
                if is_read_to_the_end {
                    assert!(page["data"].as_array().unwrap().iter().all(|row| row["real"] == true));
                }
                shown.extend(threads);
                if page["has_more"] == false {
                    assert!(page["after"].is_null());
                    break;
                }
                after = page["after"].as_str().map(str::to_owned);
                assert!(after.is_some());
                match meanwhile.next() {
                    Some((_, true)) => made.push(world.add().await),
                    Some((n, false)) => {
                        if let Some((id, thread)) = world.own.get(n).cloned() {
                            let deletion = world.store.delete(id, Some(&thread), Timestamp::now());
                            let first = !deleted.contains(&n);
                            let expected = if first { Deletion::Done } else { Deletion::Unknown };
                            assert_eq!(deletion.await.unwrap(), expected);
                            deleted.push(n);
                            world.lose(&thread);
                            lost.push(thread);
                        }
                    }
                    None => {}
                }
            }
            let mut once = shown.clone();
            once.sort();
            once.dedup();
            assert_eq!(once.len(), shown.len(), "twice: {shown:?}");
            let touched = |thread: &String| lost.contains(thread) || made.contains(thread);
            let mut expected = world.in_order(ascending);
            expected.retain(|thread| !touched(thread));
            let mut untouched: Vec<_> = shown.iter().filter(|id| !touched(id)).cloned().collect();
            if shown.len() <= usize::try_from(limit).unwrap() {
                // What was wanted whole may have the upstream's order.
                expected.sort();
                untouched.sort();
            }
            assert_eq!(untouched, expected);
            if is_read_to_the_end {
                assert!(!shown.iter().any(|id| lost_before.contains(id)));
            }
        });
    }
}

#[test]
fn a_whole_list_has_the_upstreams_order_where_all_were_found() {
    block_on(async {
        let world = World::new(4, 100, 30).await;
        let listed = |order: &[&str], others: usize| {
            let mut listed: Vec<String> = order.iter().map(|id| (*id).to_owned()).collect();
            listed.extend((0..others).map(|n| format!("thr_other_{n}")));
            *world.listed.lock().unwrap() = listed;
        };
        listed(&["thr_2", "thr_0", "thr_3", "thr_1"], 5000);
        let page = world.page(9999, false, None).await;
        assert_eq!(ids(&page), ["thr_2", "thr_0", "thr_3", "thr_1"]);
        assert_eq!(*world.requests.lock().unwrap(), 1, "all were found");
        let page = world.page(4, false, None).await;
        assert_eq!(ids(&page), ["thr_2", "thr_0", "thr_3", "thr_1"]);

        // One is lost, and the list is read to its end.
        listed(&["thr_2", "thr_0", "thr_3"], 50);
        let page = world.page(9999, false, None).await;
        assert_eq!((ids(&page).len(), *world.requests.lock().unwrap()), (3, 2));

        // One may be anywhere: the order is the store's, and that one is as the store knows it.
        listed(&["thr_2", "thr_0", "thr_3"], 5000);
        let page = world.page(9999, false, None).await;
        assert_eq!(*world.requests.lock().unwrap(), 10);
        assert_eq!(ids(&page), world.in_order(false));
        assert_eq!((&page["has_more"], &page["after"]), (&json!(false), &Value::Null));
        for row in page["data"].as_array().unwrap() {
            let is_untold = row["id"] == "thr_1";
            assert_eq!(row["real"].is_null(), is_untold, "{row}");
            assert_eq!(row["title"] == "of the store", is_untold, "{row}");
        }
    });
}

#[test]
fn a_page_ends_where_what_is_wanted_is_too_much_to_keep() {
    block_on(async {
        // Titles and ids of some 20 bytes each: two pages of the store's are over it.
        let mut world = World::new(350, 0, 20).await;
        world.max_reply_bytes = 2500;
        let (mut shown, mut after, mut pages) = (Vec::new(), None, Vec::new());
        loop {
            let page = world.page(9999, true, after.as_deref()).await;
            pages.push(ids(&page).len());
            shown.extend(ids(&page));
            after = page["after"].as_str().map(str::to_owned);
            if page["has_more"] == false {
                break;
            }
        }
        assert_eq!((shown, pages), (world.in_order(true), vec![200, 150]));
    });
}

#[test]
fn a_list_of_many_is_read_to_its_end() {
    block_on(async {
        let world = World::new(1500, 0, 100).await;
        let page = world.page(9999, false, None).await;
        assert_eq!(ids(&page).len(), 1500);
        assert!(page["data"].as_array().unwrap().iter().all(|row| row["real"] == true));
    });
}

#[test]
fn a_page_is_filled_up_for_what_the_upstream_has_lost() {
    block_on(async {
        let world = World::new(200, 0, 100).await;
        let in_order = world.in_order(true);
        for thread in &in_order[..150] {
            world.lose(thread);
        }
        // So many in a row are too many for one page, which still says where the next one is.
        let page = world.page(20, true, None).await;
        assert_eq!((ids(&page).len(), &page["has_more"]), (0, &json!(true)));
        let page = world.page(20, true, page["after"].as_str()).await;
        assert_eq!(ids(&page), in_order[150..170]);
    });
}

#[test]
fn a_place_survives_being_written_as_a_cursor() {
    let place = ThreadPlace {
        bound_at: "2026-11-21T03:26:14.142749Z".parse().unwrap(),
        id: SessionId::random(),
    };
    assert_eq!(ThreadPlace::parse(&place.write()), Some(place));
    for text in ["", "thr_1", "own.store.", "own.store.x.y", "own.store.1.y", "own.1.thr_1"] {
        assert_eq!(ThreadPlace::parse(text), None, "{text}");
    }
}
