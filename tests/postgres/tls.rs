//! TLS: whose certificate is trusted, and that it is the password's.

use std::path::Path;

use chatkit_rest::session::{PostgresOptions, PostgresStore, Sessions as _};

use crate::cluster::Cluster;
use crate::guarded::write_for_other_user;
use crate::relay::Relay;

fn certificates(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/forward/tls").join(name)
}

/// A server that takes connections with TLS alone.
fn secure() -> Cluster {
    let cluster = Cluster::start();
    cluster.stop();
    let data = cluster.data();
    for name in ["server.pem", "server.key"] {
        let text = std::fs::read_to_string(certificates(name)).unwrap();
        write_for_other_user(&data.join(name), &text);
    }
    let settings = data.join("postgresql.auto.conf");
    let mut text = std::fs::read_to_string(&settings).unwrap();
    text.push_str("ssl = on\nssl_cert_file = 'server.pem'\nssl_key_file = 'server.key'\n");
    std::fs::write(settings, text).unwrap();
    std::fs::write(data.join("pg_hba.conf"), "hostssl all all all scram-sha-256\n").unwrap();
    cluster.start_again();
    cluster
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_verified_wherever_tls_is_used() {
    let cluster = tokio::task::spawn_blocking(secure).await.unwrap();
    let url = |host: &str, parameters: &str| {
        let url = cluster.url("postgres").replace("127.0.0.1", host);
        PostgresOptions::parse(&format!("{url}?{parameters}")).unwrap()
    };
    // It is localhost's.
    for sslmode in ["require", "verify-ca", "verify-full", "prefer"] {
        let mut options = url("localhost", &format!("sslmode={sslmode}&channel_binding=require"));
        let refused = PostgresStore::open(options.clone()).await.unwrap_err();
        assert!(refused.is_store(), "{refused:?}");
        options.ca = Some(certificates("authority.pem"));
        let store = PostgresStore::open(options.clone()).await.unwrap();
        store.ping().await.unwrap();
        let mut elsewhere = url("127.0.0.1", &format!("sslmode={sslmode}"));
        elsewhere.ca = options.ca;
        let refused = PostgresStore::open(elsewhere).await.unwrap_err().chain();
        assert!(refused.contains("certificate not valid for name"), "{refused}");
    }
    let plain = PostgresStore::open(url("localhost", "sslmode=disable")).await.unwrap_err();
    assert!(plain.chain().contains("no encryption"), "{}", plain.chain());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_no_tls_is_not_spoken_to_where_it_is_asked_for() {
    let cluster =
        tokio::task::spawn_blocking(|| Cluster::start_with("fsync = off\n")).await.unwrap();
    let url = format!("{}?sslmode=require", cluster.url("postgres"));
    let mut options = PostgresOptions::parse(&url).unwrap();
    options.ca = Some(certificates("authority.pem"));
    let refused = PostgresStore::open(options.clone()).await.unwrap_err().chain();
    assert!(refused.contains("does not support TLS"), "{refused}");
    for (name, what) in [
        ("server.key", "it has a private key and no certificate"),
        ("nothing.pem", "can't be read"),
    ] {
        options.ca = Some(certificates(name));
        let refused = PostgresStore::open(options.clone()).await.unwrap_err().chain();
        assert!(refused.contains(what), "{refused}");
    }
}

// Hosts of many databases go by the name that is said before there are keys.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hosts_name_is_said_and_nothing_else_in_the_clear() {
    let cluster = tokio::task::spawn_blocking(secure).await.unwrap();
    let relay = Relay::start(cluster.address());
    let url = cluster.url_at(relay.address(), "postgres").replace("127.0.0.1", "localhost");
    let mut options =
        PostgresOptions::parse(&format!("{url}?sslmode=require&channel_binding=require")).unwrap();
    options.ca = Some(certificates("authority.pem"));
    PostgresStore::open(options).await.unwrap().ping().await.unwrap();
    assert!(relay.heard(b"localhost"));
    // What its first message would have without TLS, and all others.
    for plain in ["tester", "chatkit_rest", "SELECT"] {
        assert!(!relay.heard(plain.as_bytes()), "{plain}");
    }
}
