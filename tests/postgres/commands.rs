//! What is done beside gateways: the commands, and the grants that gateways need.

use std::process::{Command, Output};
use std::sync::Arc;

use chatkit_rest::session::{PostgresOptions, PostgresStore};

use crate::cluster::Database;
use crate::copies::{filled, options};
use crate::gateway::Gateway;
use crate::http::{PREFIX, send};
use crate::stored::filling::fill;
use crate::upstream::Upstream;
use chatkit_rest::session::contract::Store;
use serde_json::json;

/// Runs the program with a database and no other variables.
fn run(database: &Database, arguments: &[&str]) -> (bool, String, String) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_chatkit-rest"))
        .args(arguments)
        .env_clear()
        .env("CHATKIT_REST__STORE__URL", database.url())
        .env("CHATKIT_REST__STORE__SCHEMA", database.schema())
        .output()
        .unwrap();
    (status.success(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[tokio::test]
async fn a_schema_is_made_by_the_command_or_by_its_sql() {
    let (one, other) = (Database::new().await, Database::new().await);
    let (_, told, _) = run(&one, &["migrate"]);
    assert!(told.contains(&format!("schema {} is made: version ", one.schema())), "{told}");
    assert!(run(&one, &["migrate"]).1.contains(" already.\n"));

    let (is_done, sql, _) = run(&other, &["migrate", "--print"]);
    assert!(is_done);
    other.connect().await.batch_execute(&sql).await.unwrap();
    assert!(run(&other, &["migrate"]).1.contains(" already.\n"));
    drop(PostgresStore::open(options(&other)).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_blocked_is_refused_by_every_gateway_at_once() {
    let (database, upstream) = (Database::new().await, Upstream::start().await);
    let settings = [("STORE__URL", database.url()), ("STORE__SCHEMA", database.schema())];
    let gateways = [(); 2].map(|()| Gateway::start(&upstream, &settings));
    let ask = async |gateway: &Gateway, user: &str, method: &str, path: &str| {
        let body = json!({"message": "hi"});
        let body = (method == "POST").then_some(&body);
        send(gateway.address(), user, method, &format!("{PREFIX}{path}"), body).await.unwrap()
    };
    let made =
        send(gateways[0].address(), "ada", "POST", &format!("{PREFIX}/sessions"), None).await;
    let session = made.unwrap().json()["data"]["id"].as_str().unwrap().to_owned();
    let runs = format!("/sessions/{session}/threads/{session}/runs");
    let said = || upstream.threads().values().map(|thread| thread.messages).sum::<usize>();
    let asked = [("POST", &*runs), ("GET", "/sessions")];
    for gateway in &gateways {
        for (method, path) in asked {
            assert_eq!(ask(gateway, "ada", method, path).await.status, 200);
        }
    }
    for (step, status, runs_begin) in [("block", 403, false), ("unblock", 200, true)] {
        let (is_done, told, failed) = run(&database, &["user", step, "ada"]);
        assert!(is_done, "{told}{failed}");
        let before = said();
        for gateway in &gateways {
            for (method, path) in asked {
                let reply = ask(gateway, "ada", method, path).await;
                assert_eq!(reply.status, status, "{step}: {reply:?}");
                if status == 403 {
                    assert_eq!(reply.code(), "USER_BLOCKED");
                }
                assert_eq!(ask(gateway, "eve", "GET", "/sessions").await.status, 200);
            }
        }
        assert_eq!(said() > before, runs_begin, "{step}");
    }
    let (_, told, _) = run(&database, &["user", "list"]);
    assert_eq!(told, "No user is blocked.\n");
}

#[tokio::test]
async fn commands_work_on_a_database() {
    let (database, directory) = (Database::new().await, filled().await);
    let from = format!("sqlite:{}", directory.file().display());
    let (is_done, told, failed) = run(&database, &["store", "copy", &from, "store.url"]);
    assert!(is_done && told.contains("\nsession  1207  1207  "), "{told}{failed}");

    let (_, told, _) = run(&database, &["quarantine", "list"]);
    assert!(told.contains("\"thr_twice\"  locked  ") && told.contains("\"ada\""), "{told}");
    let (_, told, _) = run(&database, &["quarantine", "release", "thr_twice"]);
    assert!(told.contains("Released"), "{told}");
    assert!(run(&database, &["quarantine", "list"]).1.contains("No thread is in quarantine."));

    let lines = directory.file().with_file_name("threads.jsonl");
    std::fs::write(&lines, "{\"thread_id\":\"thr_new\",\"user_id\":\"ada\"}\n").unwrap();
    let lines = lines.to_str().unwrap();
    let (is_done, told, failed) = run(&database, &["adopt", lines]);
    assert!(is_done && told.contains("threads: 1 adopted"), "{told}{failed}");
    assert!(told.contains(&format!(", schema {} (environment", database.schema())), "{told}");
    let (is_done, _, failed) = run(&database, &["adopt", lines, "--dry-run"]);
    assert!(!is_done && failed.contains("--dry-run works on a copy"), "{failed}");
}

/// The grants of the manual's chapter, of a schema and a role.
fn grants(schema: &str, role: &str) -> String {
    let chapter = include_str!("../../src/manual/several_machines.md");
    let sql = chapter.split("```sql\n").nth(1).unwrap().split("```").next().unwrap();
    sql.replace("chatkit_rest", schema).replace("gateway", role)
}

// As an owner of nothing else is given a schema, who may make none.
#[tokio::test]
async fn who_was_given_a_schema_can_do_what_is_printed() {
    let database = Database::new().await;
    let (is_done, sql, _) = run(&database, &["migrate", "--print"]);
    assert!(is_done);
    let client = database.connect().await;
    let role = format!("role_{}", uuid::Uuid::new_v4().simple());
    let schema = database.schema();
    let given = format!(
        "CREATE ROLE {role}; CREATE SCHEMA IF NOT EXISTS {schema};
        GRANT USAGE, CREATE ON SCHEMA {schema} TO {role}; SET ROLE {role}"
    );
    client.batch_execute(&given).await.unwrap();
    client.batch_execute(&sql).await.unwrap();
    client.batch_execute(&format!("RESET ROLE; GRANT {role} TO CURRENT_USER")).await.unwrap();
    assert!(run(&database, &["migrate"]).1.contains(" already.\n"));
    let (is_done, sql, _) = run(&database, &["migrate", "--print", "--from", "1"]);
    assert!(is_done && !sql.contains("CREATE SCHEMA"), "{sql}");
    client.batch_execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await.unwrap();
}

#[tokio::test]
async fn a_schema_of_another_program_is_left_alone() {
    let database = Database::new().await;
    let schema = database.schema();
    for migration in ["version integer, applied_at timestamptz", "number integer", "version text"] {
        let make = format!(
            "DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema};
            CREATE TABLE {schema}.migration ({migration});
            CREATE TABLE {schema}.session (id integer);
            INSERT INTO {schema}.migration VALUES (4)"
        );
        database.connect().await.batch_execute(&make).await.unwrap();
        let (is_done, _, failed) = run(&database, &["migrate"]);
        assert!(!is_done && failed.contains("is another program's"), "{migration}: {failed}");
    }
}

// No more than the manual says, which a database's administrator gives.
#[tokio::test]
async fn a_gateway_needs_the_grants_that_the_manual_has() {
    let database = Database::new().await;
    let (is_done, _, failed) = run(&database, &["migrate"]);
    assert!(is_done, "{failed}");
    let client = database.connect().await;
    let role = format!("role_{}", uuid::Uuid::new_v4().simple());
    let make = format!("CREATE ROLE {role} LOGIN PASSWORD 'of the test'");
    client.batch_execute(&make).await.unwrap();
    let (_, place) = database.url().split_once("://").unwrap();
    let place = place.rsplit_once('@').map_or(place, |(_, place)| place);
    let url = format!("postgres://{role}:of%20the%20test@{place}");
    let mut options = PostgresOptions::parse(&url).unwrap();
    database.schema().clone_into(&mut options.schema);

    // Whoever may only read is told so, and whoever may not give numbers.
    let schema = database.schema();
    let some = format!(
        "GRANT USAGE ON SCHEMA {schema} TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}"
    );
    let less = format!("REVOKE USAGE ON SEQUENCE {schema}.conversation_number FROM {role}");
    let less = format!("{};{less}", grants(schema, &role));
    for (grants, lacking) in
        [(some, "DELETE on attachment"), (less, "lacks USAGE on conversation_number, of")]
    {
        client.batch_execute(&grants).await.unwrap();
        let error = PostgresStore::open(options.clone()).await.unwrap_err().chain();
        assert!(error.contains(lacking) && error.contains("several machines"), "{error}");
    }
    client.batch_execute(&grants(schema, &role)).await.unwrap();
    let database_store = Arc::new(PostgresStore::open(options).await.unwrap());
    let store: Store = Arc::clone(&database_store) as _;
    fill(&store).await;
    assert_eq!(store.quarantined(None, 9).await.unwrap().len(), 1);
    database_store.close().await;
    let refused = client.batch_execute(&format!("SET ROLE {role}; CREATE SCHEMA {role}")).await;
    assert!(refused.is_err());
    client
        .batch_execute(&format!("RESET ROLE; DROP OWNED BY {role}; DROP ROLE {role}"))
        .await
        .unwrap();
}
