//! Common mistakes, each told by what to do about it.

use super::*;

/// Gives the status, the challenge, the message and the cause; none of them has a part of a secret.
async fn told(
    layer: &AuthenticateLayer,
    sent: Request<Empty<Bytes>>,
) -> (u16, String, String, String) {
    let reply = send(layer, sent).await;
    let status = reply.status().as_u16();
    let challenge = reply.headers().get("www-authenticate");
    let challenge = challenge.map_or("", |value| value.to_str().unwrap()).to_owned();
    let cause = reply.extensions().get::<Refused>().and_then(Refused::cause);
    let cause = cause.unwrap_or_default().to_owned();
    let body = text(reply).await;
    let seen = format!("{challenge} {cause} {body}");
    for secret in ["planted", "eyJ", "ek_0", "sk-0", "$TOKEN"] {
        assert!(!seen.contains(secret), "{seen}");
    }
    let body: Value = serde_json::from_str(&body).unwrap_or_default();
    let message = body["error"]["message"].as_str().unwrap_or_default().to_owned();
    (status, challenge, message, cause)
}

async fn check(layer: &AuthenticateLayer, sent: Request<Empty<Bytes>>, error: &str, begins: &str) {
    let shown = format!("{sent:?}");
    let (status, challenge, message, cause) = told(layer, sent).await;
    assert_eq!(status, 401, "{shown}");
    assert!(message.starts_with(begins), "{shown}: {message}");
    assert!(!cause.is_empty());
    let expected = match error {
        "" => CHALLENGE.to_owned(),
        error => format!("{CHALLENGE}, error=\"{error}\", error_description=\"{message}\""),
    };
    assert_eq!(challenge, expected, "{shown}");
}

#[tokio::test]
async fn a_common_mistake_is_told_with_what_to_do() {
    const REQUEST: &str = "invalid_request";
    const TWICE: &str = "The word Bearer stands twice in Authorization: send it once";
    const PLACEHOLDER: &str = "After Bearer is a placeholder in place of the token: fill it in";
    const QUOTED: &str = "The token has quotes around it: send it without them.";
    const SCHEME: &str = "There is no Bearer before the token: send Authorization with that word";
    const COLON: &str = "There is a colon after Bearer: send Authorization with that word, a blank";
    const HEADER: &str = "Credentials are not looked for in that header: send Authorization";
    const UNSET: &str = "After Bearer is the word for a value that is not there";
    let token = sign(&claims());
    for (name, value, error, begins) in [
        ("authorization", format!("Bearer Bearer {token}"), REQUEST, TWICE),
        ("authorization", format!("bearer  BEARER {token}"), REQUEST, TWICE),
        ("authorization", format!("Bearer \"Bearer {token}\""), REQUEST, TWICE),
        ("authorization", "Bearer $TOKEN".into(), REQUEST, PLACEHOLDER),
        ("authorization", "Bearer ${TOKEN}".into(), REQUEST, PLACEHOLDER),
        ("authorization", "Bearer '$TOKEN'".into(), REQUEST, PLACEHOLDER),
        ("authorization", "Bearer $(cat planted)".into(), REQUEST, PLACEHOLDER),
        ("authorization", "Bearer %TOKEN%".into(), REQUEST, PLACEHOLDER),
        ("authorization", "Bearer {{token}}".into(), REQUEST, PLACEHOLDER),
        ("authorization", "Bearer <your token>".into(), REQUEST, PLACEHOLDER),
        ("authorization", format!("Bearer \"{token}\""), REQUEST, QUOTED),
        ("authorization", format!("Bearer '{token}'"), REQUEST, QUOTED),
        ("authorization", format!("\"Bearer {token}\""), REQUEST, QUOTED),
        ("authorization", token.clone(), REQUEST, SCHEME),
        ("authorization", "Bearer TOKEN".into(), REQUEST, PLACEHOLDER),
        ("authorization", "Bearer token".into(), REQUEST, PLACEHOLDER),
        ("authorization", "Bearer YOUR_ACCESS_TOKEN".into(), REQUEST, PLACEHOLDER),
        ("authorization", "Bearer your-jwt-here".into(), REQUEST, PLACEHOLDER),
        ("authorization", "Bearer \"JWT\"".into(), REQUEST, PLACEHOLDER),
        ("authorization", "Bearer xxxx".into(), REQUEST, PLACEHOLDER),
        ("authorization", "Bearer ...".into(), REQUEST, PLACEHOLDER),
        ("authorization", "Bearer $env:TOKEN".into(), REQUEST, PLACEHOLDER),
        ("authorization", format!("Bearer: {token}"), REQUEST, COLON),
        ("authorization", format!("bearer : {token}"), REQUEST, COLON),
        ("authorization", "Bearer:$TOKEN".into(), REQUEST, COLON),
        ("authorization", "Bearer:".into(), REQUEST, COLON),
        ("authorization", "$TOKEN".into(), REQUEST, SCHEME),
        ("authorization", "TOKEN".into(), REQUEST, SCHEME),
        ("authorization", format!("Token {token}"), REQUEST, SCHEME),
        ("authorization", format!("Token token=\"{token}\""), REQUEST, SCHEME),
        ("authorization", "ek_0planted".into(), REQUEST, SCHEME),
        ("authorization", "Bearer undefined".into(), REQUEST, UNSET),
        ("authorization", "Bearer null".into(), REQUEST, UNSET),
        ("authorization", "Bearer [object Promise]".into(), REQUEST, UNSET),
        (
            "authorization",
            "Bearer sk-0planted".into(),
            "invalid_token",
            "This looks like an API key",
        ),
        ("x-api-key", token.clone(), "", HEADER),
        ("x-authorization", format!("Bearer {token}"), "", HEADER),
    ] {
        check(&layer(), request(&[(name, &value)]), error, begins).await;
    }
    for query in ["access_token", "token"] {
        let mut sent = request(&[]);
        *sent.uri_mut() = format!("/x?limit=3&{query}={token}").parse().unwrap();
        let (status, challenge, message, _) = told(&layer(), sent).await;
        assert_eq!((status, &*challenge), (401, CHALLENGE));
        assert!(message.starts_with("Credentials are not looked for in the URL"), "{message}");
    }
}

#[tokio::test]
async fn what_is_no_common_mistake_is_told_as_ever() {
    const TAKES_ONE: &str = "Exactly one bearer token is expected.";
    let token = sign(&claims());
    for (value, begins) in [
        ("Bearer a b".to_owned(), TAKES_ONE),
        ("Bearer a, Bearer b".to_owned(), TAKES_ONE),
        (format!("Bearer {token}, Bearer {token}"), TAKES_ONE),
        ("Bearer nulls".to_owned(), "The token is not valid."),
        ("Bearer tokens".to_owned(), "The token is not valid."),
        ("Bearer TOKEN1".to_owned(), "The token is not valid."),
        ("Bearer eyJ.eyJ.xxx".to_owned(), "The token is not valid."),
        ("Basic ZXlKOnBsYW50ZWQ=".to_owned(), "A valid bearer token is required."),
        ("Digest username=\"a\", nonce=\"x\"".to_owned(), "A valid bearer token is required."),
    ] {
        let (status, _, message, _) = told(&layer(), request(&[("authorization", &value)])).await;
        assert_eq!((status, &*message), (401, begins), "{value}");
    }
    let number = sign(&json!({ "sub": 7, "exp": NOW + 60 }));
    let sent = request(&[("authorization", &format!("Bearer {number}"))]);
    let (_, _, message, _) = told(&layer(), sent).await;
    assert!(message.contains("auth.user_claim"), "{message}");
    // Before its signature was checked, nothing is said of what is in it.
    let forged = sign_raw(r#"{"alg":"HS256"}"#, r#"{"sub":7,"exp":99999999999}"#, b"another");
    let sent = request(&[("authorization", &format!("Bearer {forged}"))]);
    let (_, _, message, _) = told(&layer(), sent).await;
    assert_eq!(message, "The token is not valid.");
}

/// Each pair of them must not take room on the stack: how many there are is the client's choice.
#[tokio::test]
async fn quotes_around_quotes_are_looked_through_however_many_there_are() {
    const QUOTED: &str = "The token has quotes around it: send it without them.";
    const PLACEHOLDER: &str = "After Bearer is a placeholder";
    let quotes = "\"".repeat(30_000);
    for (inner, begins) in [("", QUOTED), ("x", QUOTED), ("$TOKEN", PLACEHOLDER)] {
        let value = format!("Bearer {quotes}{inner}{quotes}");
        let (status, _, message, _) = told(&layer(), request(&[("authorization", &value)])).await;
        assert_eq!(status, 401);
        assert!(message.starts_with(begins), "{inner}: {message}");
    }
}

#[tokio::test]
async fn a_cookie_is_found_beside_credentials_that_are_somebody_elses() {
    let token = sign(&claims());
    let layer = layer().cookie("session");
    let cookie = format!("session={token}");
    for beside in [("authorization", "Token eyJ.eyJ.x"), ("x-auth-token", "planted")] {
        let reply = send(&layer, request(&[("cookie", &cookie), beside])).await;
        assert_eq!(reply.status(), 200, "{beside:?}");
    }
}

#[tokio::test]
async fn a_service_is_told_which_key_it_should_have_shown() {
    let keys = ServiceKeys::new([(UserId::parse("billing").unwrap(), [7; 32])]);
    let layer = layer().service_keys(keys);
    let token = sign(&claims());
    for (value, begins) in [
        (format!("Bearer {token}"), "This looks like a user's token, and a service's API key"),
        ("Bearer ek_0planted".to_owned(), "This looks like the secret of a client session"),
        ("Bearer undefined".to_owned(), "After Bearer is the word for a value that is not there"),
        ("Bearer $OPENAI_API_KEY".to_owned(), "After Bearer is a placeholder"),
        ("Bearer YOUR_API_KEY".to_owned(), "After Bearer is a placeholder"),
        ("Basic ZXlKOnBsYW50ZWQ=".to_owned(), "A service's API key is required here"),
        ("sk-0planted".to_owned(), "There is no Bearer before the token"),
        ("Bearer sk-0planted".to_owned(), "Incorrect API key provided."),
    ] {
        let mut sent = request(&[("authorization", &value)]);
        sent.extensions_mut().insert(Surface::OpenAi);
        let (status, _, message, _) = told(&layer, sent).await;
        assert_eq!(status, 401);
        assert!(message.starts_with(begins), "{value}: {message}");
    }
}

/// No key would be right, whatever is shown in place of one.
#[tokio::test]
async fn where_there_are_no_keys_the_log_says_so() {
    let token = format!("Bearer {}", sign(&claims()));
    for value in [&*token, "Bearer ek_0planted", "Bearer undefined", "Bearer sk-0planted"] {
        let mut sent = request(&[("authorization", value)]);
        sent.extensions_mut().insert(Surface::OpenAi);
        let (status, _, message, cause) = told(&layer(), sent).await;
        assert_eq!((status, &*cause), (401, "openai.api_keys is empty"), "{value}");
        let is_slip = value != "Bearer sk-0planted";
        assert_eq!(message != "Incorrect API key provided.", is_slip, "{value}: {message}");
    }
}

#[tokio::test]
async fn a_shared_secret_that_was_not_filled_in_is_told() {
    let trust = Trust::everyone_is(UserId::parse("ada").unwrap()).shared_secret("planted-secret");
    let layer = AuthenticateLayer::danger_trust(trust);
    for (value, begins) in [
        ("Bearer undefined", "After Bearer is the word for a value that is not there"),
        ("Bearer $SECRET", "After Bearer is a placeholder"),
        ("Bearer SECRET", "After Bearer is a placeholder"),
        ("Bearer 'planted-secret'", "The token has quotes around it"),
        ("Bearer another", "The token is not valid."),
    ] {
        let (status, _, message, _) = told(&layer, request(&[("authorization", value)])).await;
        assert_eq!(status, 401);
        assert!(message.starts_with(begins), "{value}: {message}");
    }
}
