//! Whether a request finds the operation that it is for, by the routes of all of them.

use http::{HeaderValue, Method};
use proptest::prelude::*;

use super::Name;
use crate::error::Error;
use crate::route::{Miss, Overlap, Router, setting};
use crate::surface::{Surface, Surfaces};

fn rest(prefix: &str) -> Result<Router<Name>, Error> {
    Router::new(Name::ALL, &Surfaces::rest(prefix))
}

#[test]
fn every_operation_is_found_by_its_own_route() {
    for prefix in ["", "/api/v1/chatkit"] {
        let surfaces = Surfaces::rest(prefix).with_chat("/api").with_openai("/v1/chatkit");
        let router = Router::new(Name::ALL, &surfaces).unwrap();
        for operation in Name::ALL {
            let (method, path) = (operation.method(), operation.path());
            let path = ["session", "thread", "item", "attachment", "user", "conversation"]
                .iter()
                .fold(path.to_owned(), |path, of| path.replace(&format!("{{{of}_id}}"), of));
            let prefix = surfaces.prefix(operation.surface()).unwrap();
            let path = match format!("{prefix}{path}") {
                path if path.is_empty() => "/".to_owned(),
                path => path,
            };
            let target = router.route(&method, &path).unwrap();
            assert_eq!(target.operation(), operation);
        }
    }
}

#[test]
fn other_paths_and_methods_are_told_apart() {
    let router = rest("/x").unwrap();
    for path in [
        "/",
        "/x/",
        "/x/sessions/",
        "/x//sessions",
        "/X/sessions",
        "/x/sessions/a/b",
        "/x/sessions/%00",
        "/x/sessions/%ff",
        "/x/sessions/a/threads/b/runs/c",
        "/x/sessions;a",
    ] {
        assert_eq!(router.route(&Method::GET, path), Err(Miss::Path), "{path}");
    }
    let allow = |value| Err(Miss::Method(HeaderValue::from_static(value)));
    assert_eq!(router.route(&Method::DELETE, "/x/sessions"), allow("POST, GET, HEAD"));
    assert_eq!(router.route(&Method::PUT, "/x/sessions/a"), allow("GET, HEAD, PATCH, DELETE"));
    assert_eq!(router.route(&Method::GET, "/x"), allow("POST"));
    assert!(router.route(&Method::HEAD, "/x/sessions").is_ok());
}

#[test]
fn every_user_has_their_paths_whatever_they_are_called() {
    use Name::{
        Chat, ChatForUser, GetConversation, GetConversationForUser, ListConversations,
        ListConversationsForUser,
    };
    let router = Router::new(Name::ALL, &Surfaces::rest("/x").with_chat("/api")).unwrap();
    for (method, path, operation, user, conversation) in [
        ("POST", "/chat", Chat, None, None),
        ("POST", "/ada/chat", ChatForUser, Some("ada"), None),
        ("POST", "/chat/chat", ChatForUser, Some("chat"), None),
        ("POST", "/conversations/chat", ChatForUser, Some("conversations"), None),
        ("GET", "/conversations", ListConversations, None, None),
        ("GET", "/ada/conversations", ListConversationsForUser, Some("ada"), None),
        ("GET", "/chat/conversations", ListConversationsForUser, Some("chat"), None),
        (
            "GET",
            "/conversations/conversations",
            ListConversationsForUser,
            Some("conversations"),
            None,
        ),
        ("GET", "/conversations/17", GetConversation, None, Some("17")),
        ("GET", "/conversations/c%68at", GetConversation, None, Some("chat")),
        ("GET", "/ada/conversations/17", GetConversationForUser, Some("ada"), Some("17")),
        (
            "GET",
            "/conversations/conversations/17",
            GetConversationForUser,
            Some("conversations"),
            Some("17"),
        ),
    ] {
        let target = router.route(&method.parse().unwrap(), &format!("/api{path}")).unwrap();
        assert_eq!(target.operation(), operation, "{path}");
        assert_eq!(
            (target.user(), target.parameter("conversation_id")),
            (user, conversation),
            "{path}"
        );
    }
}

#[test]
fn parameters_are_decoded_one_segment_at_a_time() {
    let router = rest("").unwrap();
    let path = "/sessions/a%2Fb/threads/thr_%C3%B6/runs";
    let target = router.route(&Method::POST, path).unwrap();
    assert_eq!(
        (target.parameter("session_id"), target.parameter("thread_id")),
        (Some("a/b"), Some("thr_ö"))
    );
    // A dot segment is a name like any other: nothing is resolved.
    assert_eq!(
        router.route(&Method::GET, "/sessions/..").unwrap().parameter("session_id"),
        Some("..")
    );
}

#[test]
fn a_bad_prefix_is_a_configuration_error() {
    for prefix in ["api", "/api/", "/{x}"] {
        assert!(rest(prefix).unwrap_err().is_config(), "{prefix}");
    }
}

fn surfaces(rest: &str, chat: &str, openai: &str) -> Surfaces {
    Surfaces::rest(rest).with_chat(chat).with_openai(openai)
}

#[test]
fn paths_that_meet_are_refused_by_the_names_of_both_settings() {
    use Surface::{Chat, OpenAi, Rest};
    for (rest, chat, openai, met) in [
        ("/v1", "/api", "/v1/sessions", [OpenAi, Rest]),
        ("/rest", "/api", "/api/chat", [OpenAi, Chat]),
        ("/v1/threads", "/api", "/v1", [Rest, OpenAi]),
        ("/a", "/a", "/v1", [Chat, Rest]),
        ("", "/sessions", "/v1", [Chat, Rest]),
        ("", "", "/v1/chatkit", [Chat, Rest]),
        ("/api/conversations", "/api", "/v1", [Rest, Chat]),
    ] {
        let surfaces = surfaces(rest, chat, openai);
        let [overlap] = Overlap::all(&Name::ALL, &surfaces)[..] else { panic!("{surfaces:?}") };
        assert_eq!([overlap.inner, overlap.outer], met, "{surfaces:?}");
        let error = Router::new(Name::ALL, &surfaces).unwrap_err();
        assert!(error.is_config());
        for surface in met {
            assert!(error.to_string().contains(setting(surface)), "{error}");
        }
    }
}

#[test]
fn paths_that_cannot_meet_may_be_below_one_another() {
    for (rest, chat, openai) in [
        ("/api/v1/chatkit", "/api", "/v1/chatkit"),
        ("/api/v1/chatkit", "/api", "/api/v1/chatkit/openai"),
        ("", "/api", "/v1/chatkit"),
        ("/api/v1/chatkit", "", "/v1/chatkit"),
        ("/api", "/api/one", "/api/v1"),
        ("/v1x", "/v1", "/openai/v1"),
        // Only by one id.
        ("/api/v1", "/api", "/v1/chatkit"),
        ("/api/v1/chat", "/api", "/openai"),
        ("/rest", "/v1", "/v1/chatkit"),
        ("/v1", "/api", "/v1/attachments/x"),
        ("/v1", "/api", "/v1/sessions/s/threads/t/runs"),
        ("/a", "", "/v1/chatkit"),
        ("/rest", "/api", "/api/a/conversations"),
    ] {
        let surfaces = surfaces(rest, chat, openai);
        assert_eq!(Overlap::all(&Name::ALL, &surfaces), [], "{surfaces:?}");
        assert!(Router::new(Name::ALL, &surfaces).is_ok(), "{surfaces:?}");
    }
}

/// Makes one of a few names, so that paths often meet, among them those of the operations.
fn segment() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "a",
        "v1",
        "chat",
        "conversations",
        "sessions",
        "threads",
        "items",
        "s",
    ])
}

fn prefix() -> impl Strategy<Value = String> {
    prop::collection::vec(segment(), 0..5)
        .prop_map(|names| names.into_iter().flat_map(|name| ["/", name]).collect())
}

proptest! {
    #[test]
    fn what_is_accepted_is_known_by_its_path(
        prefixes in (prefix(), prefix(), prefix()),
        ids in prop::collection::vec(segment(), 8),
    ) {
        let surfaces = surfaces(&prefixes.0, &prefixes.1, &prefixes.2);
        let Ok(router) = Router::new(Name::ALL, &surfaces) else { return Ok(()) };
        for operation in Name::ALL {
            let (method, template) = (operation.method(), operation.path());
            let mut ids = ids.iter();
            let below = template.split('/').map(|name| {
                if name.starts_with('{') { *ids.next().unwrap() } else { name }
            });
            let below = below.collect::<Vec<_>>().join("/");
            let path = format!("{}{below}", surfaces.prefix(operation.surface()).unwrap());
            let path = if path.is_empty() { "/" } else { &path };
            // Another operation may be nearer: `/chat` and `/{user_id}/chat`. An id may be
            // another surface's prefix, which then has the path.
            match router.route(&method, path) {
                Ok(target) => {
                    let found = target.operation().surface();
                    prop_assert_eq!(surfaces.of_path(path), found, "{}", path);
                }
                // It may be the path of a user who is called `conversations`, too.
                Err(Miss::Method(_)) if path.ends_with("/conversations/chat") => {}
                Err(_) => {
                    prop_assert_ne!(surfaces.of_path(path), operation.surface(), "{}", path);
                }
            }
        }
    }
}
