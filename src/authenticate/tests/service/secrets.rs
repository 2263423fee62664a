//! Secrets of client sessions, keys of services, and no credentials at all.

use super::*;

#[tokio::test]
async fn a_client_secret_selects_its_user_from_the_authorization_header_only() {
    let anyone = AuthenticateLayer::danger_accept_anyone_as(UserId::parse("ada").unwrap());
    for layer in [layer().cookie("token"), anyone.clone()] {
        let layer = layer.client_secrets(Arc::new(OneSecret));
        let reply = send(&layer, request(&[("authorization", "Bearer ek_good")])).await;
        assert_eq!(text(reply).await, "bob");
        let reply = send(&layer, request(&[("authorization", "Bearer ek_bad")])).await;
        assert_eq!(reply.status(), 401);
        assert_eq!(reply.headers()["www-authenticate"], INVALID);
        let reply = send(&layer, request(&[("authorization", "Bearer ek_down")])).await;
        assert_eq!(reply.status(), 503);
        assert_eq!(reply.headers()["retry-after"], "1");
    }
    let layer = layer().cookie("token").client_secrets(Arc::new(OneSecret));
    let reply = send(&layer, request(&[("cookie", "token=ek_good")])).await;
    assert_eq!(reply.status(), 401);
    // Who doesn't know about secrets takes them for bad tokens, or looks at no token at all.
    let reply = send(&anyone, request(&[("authorization", "Bearer ek_good")])).await;
    assert_eq!(text(reply).await, "ada");
}

#[tokio::test]
async fn callers_who_are_looked_up_have_places_and_all_others_need_none() {
    let layer = layer().client_secrets(Arc::new(OneSecret)).max_unauthenticated(1);
    let asked = || request(&[("authorization", "Bearer ek_good")]);
    let mut cx = Context::from_waker(Waker::noop());
    let mut first = Box::pin(send(&layer, asked()));
    assert!(first.as_mut().poll(&mut cx).is_pending());
    let refused = send(&layer, asked()).await;
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(send(&layer, request(&[])).await.status(), 401);
    assert_eq!(text(first.await).await, "bob");

    // Given back by who leaves, and by who isn't let in.
    let mut left = Box::pin(send(&layer, asked()));
    assert!(left.as_mut().poll(&mut cx).is_pending());
    drop(left);
    let bad = send(&layer, request(&[("authorization", "Bearer ek_bad")])).await;
    assert_eq!(bad.status(), 401);
    assert_eq!(text(send(&layer, asked()).await).await, "bob");

    // Nobody is between the two places: the inner service has been called by then.
    let (sent, called) = std::sync::mpsc::channel();
    let waiting = layer.layer(service_fn(move |_: Request<Authenticated<Empty<Bytes>>>| {
        sent.send(()).unwrap();
        std::future::pending::<Result<Response<http_body_util::Full<Bytes>>, Infallible>>()
    }));
    let mut calling = Box::pin(waiting.oneshot(asked()));
    assert!(calling.as_mut().poll(&mut cx).is_pending());
    called.try_recv().unwrap_err();
    assert!(calling.as_mut().poll(&mut cx).is_pending());
    called.try_recv().unwrap();
    assert_eq!(text(send(&layer, asked()).await).await, "bob");
}

#[tokio::test]
async fn only_keys_of_services_count_on_the_openai_surface() {
    let digest = |key: &str| -> [u8; 32] {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.as_bytes());
        digest.as_ref().try_into().unwrap()
    };
    let keys = [("billing", "sk-one"), ("support", "sk-two")];
    let keys = keys.map(|(name, key)| (UserId::parse(name).unwrap(), digest(key)));
    let on = |headers: &[(&str, &str)]| {
        let mut request = request(headers);
        request.extensions_mut().insert(Surface::OpenAi);
        request
    };
    let jwt = format!("Bearer {}", sign(&claims()));
    let anyone = AuthenticateLayer::danger_accept_anyone_as(UserId::parse("ada").unwrap());
    for layer in [layer().cookie("token"), anyone] {
        let layer = layer.client_secrets(Arc::new(OneSecret));
        // Without keys, nobody.
        let reply = send(&layer, on(&[("authorization", "Bearer sk-one")])).await;
        assert_eq!(reply.status(), 401);

        let layer = layer.service_keys(ServiceKeys::new(keys.clone()));
        for (key, name) in [("Bearer sk-one", "billing"), ("bearer sk-two", "support")] {
            let reply = send(&layer, on(&[("authorization", key)])).await;
            assert_eq!(text(reply).await, name);
        }
        for headers in [
            &[][..],
            &[("authorization", "Bearer sk-on")],
            &[("authorization", "Bearer billing")],
            &[("authorization", jwt.as_str())],
            &[("authorization", "Bearer ek_good")],
            &[("cookie", "token=sk-one")],
            &[("authorization", "Bearer sk-one"), ("authorization", "Bearer sk-one")],
        ] {
            let reply = send(&layer, on(headers)).await;
            assert_eq!(reply.status(), 401, "{headers:?}");
            assert!(reply.headers().contains_key("www-authenticate"));
            let body: Value = serde_json::from_str(&text(reply).await).unwrap();
            assert_eq!(body["error"]["code"], "invalid_api_key");
        }
        // And a key counts nowhere else.
        let reply = send(&layer, request(&[("authorization", "Bearer sk-one")])).await;
        assert_ne!(text(reply).await, "billing");
    }
}

#[tokio::test]
async fn where_it_is_optional_only_those_who_say_nothing_are_nobody() {
    async fn who(
        request: Request<Empty<Bytes>>,
    ) -> Result<Response<http_body_util::Full<Bytes>>, Infallible> {
        let principal = request.extensions().get::<Principal>();
        let who = principal.map_or("nobody".to_owned(), |known| known.user_id().to_string());
        Ok(Response::new(who.into()))
    }
    let layer = layer().cookie("session").optional();
    let (good, bad) = (sign(&claims()), "ey.J.x");
    let (bearer, cookie) = (format!("Bearer {good}"), format!("session={good}"));
    for (headers, expected) in [
        (vec![], Ok("nobody")),
        (vec![("authorization", BASIC)], Ok("nobody")),
        (vec![("cookie", "session=; other=1")], Ok("nobody")),
        (vec![("authorization", &*bearer)], Ok("ada")),
        (vec![("cookie", &*cookie)], Ok("ada")),
        (vec![("authorization", "Bearer")], Err(401)),
        (vec![("authorization", &*format!("Bearer {bad}"))], Err(401)),
        (vec![("authorization", &*bearer), ("authorization", BASIC)], Err(401)),
        (vec![("cookie", &*format!("session={bad}"))], Err(401)),
        (vec![("cookie", "session=x y")], Err(401)),
    ] {
        let mut request = request(&headers);
        // Nobody verified that.
        let eve = Principal::new(UserId::parse("eve").unwrap());
        request.extensions_mut().insert(eve);
        let reply = layer.layer(service_fn(who)).oneshot(request).await.unwrap();
        let status = reply.status().as_u16();
        let found = text(reply).await;
        let found = if status == 200 { Ok(found.as_str()) } else { Err(status) };
        assert_eq!(found, expected, "{headers:?}");
    }
    // Another page's use of the cookie is refused, and not taken for nobody's.
    let mut foreign = request(&[("cookie", &cookie), ("origin", "https://evil.example")]);
    *foreign.method_mut() = Method::POST;
    let reply = layer.layer(service_fn(who)).oneshot(foreign).await.unwrap();
    assert_eq!(reply.status(), 403);
}
