//! One name threads through operation, schema and fixture folder, and nothing is left over.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use chatkit_rest::contract::{self, Fixture};
use chatkit_rest::operation::Name;
use chatkit_rest::protocol::RequestType;
use chatkit_rest::rejection::Code;
use chatkit_rest::validate::SOURCES;

use crate::fixtures;

/// What no fixture can bring about.
const UNREACHABLE: [(Code, &str); 2] = [
    (Code::Internal, "a defect of the gateway: an input that brings it about is a bug to fix"),
    (Code::UserBlocked, "an operator's command brings it about, and no request: tests/journey"),
];

fn load() -> Vec<Fixture> {
    contract::load(fixtures()).unwrap()
}

fn entries(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn there_are_enough_of_them_and_each_says_what_it_shows() {
    let fixtures = load();
    assert!(fixtures.len() >= 60, "{}", fixtures.len());
    let descriptions: BTreeSet<&str> = fixtures.iter().map(Fixture::description).collect();
    for description in &descriptions {
        assert!(description.ends_with('.'), "{description}");
    }
    // Two that show the same show one thing too many.
    assert!(descriptions.len() + 20 > fixtures.len(), "{}", descriptions.len());
}

#[test]
fn every_operation_has_a_folder_and_every_folder_an_operation() {
    let folders: BTreeSet<String> = load().iter().map(|f| f.folder().to_owned()).collect();
    let mut expected: BTreeSet<String> =
        Name::ALL.iter().map(|operation| operation.as_str().to_owned()).collect();
    expected.insert("service".to_owned());
    assert_eq!(folders, expected);
    let mut all = expected;
    all.extend(["README.md", "given", "keys"].map(str::to_owned));
    assert_eq!(entries(fixtures()), all);
}

#[test]
fn every_operation_has_its_schemas_and_every_schema_its_use() {
    let mut expected: BTreeSet<String> =
        ["error", "openai_error", "problem"].map(str::to_owned).into();
    for operation in Name::ALL {
        match operation {
            Name::Passthrough => {
                expected.extend(RequestType::ALL.iter().map(|kind| format!("chatkit/{kind}")));
                continue;
            }
            Name::CreateSession
            | Name::UpdateSession
            | Name::CreateThread
            | Name::CreateRun
            | Name::CreateFeedback
            | Name::RetryItem
            | Name::SubmitToolOutput
            | Name::SubmitStructuredInput
            | Name::RunAction
            | Name::CreateAttachment
            | Name::CreateTranscription
            | Name::Chat
            | Name::ChatForUser
            | Name::OpenAiCreateSession => {
                expected.insert(format!("{operation}.request"));
            }
            Name::ListSessions
            | Name::ListConversations
            | Name::ListConversationsForUser
            | Name::GetConversation
            | Name::GetConversationForUser
            | Name::OpenAiListThreads
            | Name::OpenAiListItems => {
                expected.insert(format!("{operation}.query"));
            }
            _ => {}
        }
        if let Name::ListItems | Name::RunAction = operation {
            expected.insert(format!("{operation}.query"));
        }
        expected.insert(format!("{operation}.reply"));
    }
    let known: BTreeSet<String> = SOURCES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(known, expected);
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
    let mut files = entries(&directory);
    assert!(files.remove("chatkit"));
    files.extend(entries(&directory.join("chatkit")).iter().map(|name| format!("chatkit/{name}")));
    let expected: BTreeSet<String> = expected.iter().map(|name| format!("{name}.json")).collect();
    assert_eq!(files, expected);
}

#[test]
fn every_refusal_is_shown() {
    let shown: BTreeSet<Code> = load().iter().flat_map(Fixture::codes).collect();
    for code in Code::ALL {
        let unreachable = UNREACHABLE.iter().any(|(unreachable, _)| *unreachable == code);
        assert_ne!(shown.contains(&code), unreachable, "{code}");
    }
}

#[test]
fn every_request_type_is_sent_through() {
    let fixtures = load();
    let passthrough = fixtures.iter().filter(|f| f.folder() == Name::Passthrough.as_str());
    let sent: BTreeSet<&str> = passthrough.flat_map(Fixture::chatkit_requests).collect();
    for kind in RequestType::ALL {
        assert!(sent.contains(kind.as_str()), "{kind}");
    }
}

#[test]
fn every_recorded_stream_and_every_prelude_is_used() {
    let mut text = String::new();
    let mut recorded = BTreeSet::new();
    for fixture in load() {
        text += &fs::read_to_string(fixtures().join(format!("{}.json", fixture.name()))).unwrap();
        let folder = entries(&fixtures().join(fixture.folder()));
        let is_fixture = |name: &String| Path::new(name).extension() == Some("json".as_ref());
        recorded.extend(folder.into_iter().filter(|name| !is_fixture(name)));
    }
    for name in recorded {
        assert!(text.contains(&format!("\"sse\": \"{name}\"")), "{name}");
    }
    for name in entries(&fixtures().join("given")) {
        let name = name.strip_suffix(".json").unwrap();
        assert!(text.contains(&format!("\"given\": \"{name}\"")), "{name}");
    }
}
