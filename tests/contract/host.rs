//! The fixtures around a stack that is not the gateway's: a host application with an
//! authentication of its own in front of `ChatKitRestLayer`.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chatkit_rest::contract::{self, ClientBody, Fixture, Target};
use chatkit_rest::error::Error;
use chatkit_rest::host::ChatKitRestLayer;
use chatkit_rest::operation::Name;
use chatkit_rest::principal::{Principal, UserId};
use chatkit_rest::session::MemoryStore;
use chatkit_rest::surface::Surface;
use chatkit_rest::telemetry::TraceLayer;
use http::Request;
use serde_json::Value;
use tower::ServiceBuilder;

use crate::fixtures;

/// Believes every token, which is what a test's host may do.
fn believe(mut request: Request<ClientBody>) -> Request<ClientBody> {
    let user = request.headers().get("authorization").and_then(|value| {
        let payload = value.to_str().ok()?.split('.').nth(1)?;
        let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
        UserId::parse(claims["sub"].as_str()?).ok()
    });
    if let Some(user) = user {
        request.extensions_mut().insert(Principal::new(user));
    }
    request
}

/// The settings that this stack has.
const HAS: [&str; 1] = ["chat.invalid_status"];

/// Tells whether a folder is an operation's of the surfaces that the layer has.
fn is_served(folder: &str) -> bool {
    Name::ALL
        .iter()
        .any(|operation| operation.as_str() == folder && operation.surface() != Surface::OpenAi)
}

#[tokio::test(start_paused = true)]
async fn a_host_application_keeps_the_same_contract() {
    let target = Target::service(|upstream, config| {
        let store = Arc::new(MemoryStore::new());
        let layer = ChatKitRestLayer::<ClientBody>::new(config.rest.prefix.as_str(), store)?
            .with_chat(config.chat.path.as_str())?
            .with_invalid_status(config.chat.invalid_status);
        let stack = ServiceBuilder::new().layer(TraceLayer::new()).map_request(believe);
        Ok::<_, Error>(stack.layer(layer).service(upstream))
    });
    let fixtures: Vec<Fixture> = contract::load(fixtures())
        .unwrap()
        .into_iter()
        .filter(|fixture| is_served(fixture.folder()))
        .filter(|fixture| fixture.settings().keys().all(|name| HAS.contains(&name.as_str())))
        // Its challenge names the gateway as the realm; a host has its own.
        .filter(|fixture| fixture.name() != "chat_for_user/no_token")
        .collect();
    let report = contract::run(&fixtures, &target).await;
    assert!(report.is_success(), "{report}");
    assert!(report.passed() > 300, "{report}");
}
