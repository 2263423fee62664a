//! TLS, as an operator meets it: what `check` says of files, and what `serve` says it speaks.

use rcgen::{CertificateParams, KeyPair};

use super::{File, Ran, SECRET, run};
use crate::serve::Serving;

/// A certificate for `localhost`, in two files.
struct Pair {
    certificate: File,
    key: File,
}

fn pair_until(year: i32) -> Pair {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(year, 1, 1);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    Pair { certificate: File::new(&certificate.pem()), key: File::new(&key.serialize_pem()) }
}

fn check(certificate: &str, key: &str, more: &[(&str, &str)]) -> Ran {
    let mut variables = vec![
        ("CHATKIT_REST__AUTH__SECRET", SECRET),
        ("CHATKIT_REST__SERVER__TLS__CERTIFICATE", certificate),
        ("CHATKIT_REST__SERVER__TLS__KEY", key),
    ];
    variables.extend(more);
    run(&["check", "--store", "memory:"], &variables)
}

#[test]
fn check_says_what_is_wrong_with_files_and_what_will_be() {
    let (pair, other, over) = (pair_until(2999), pair_until(2999), pair_until(2020));
    let url = ("CHATKIT_REST__SERVER__PUBLIC_URL", "https://localhost:8443/ai");
    let fine = check(pair.certificate.path(), pair.key.path(), &[url]);
    assert_eq!((fine.code, fine.err.as_str()), (0, ""));
    assert!(!fine.out.contains("certificate is"), "{}", fine.out);
    for (certificate, url, note) in [
        (
            &over,
            "https://localhost",
            "server.tls.certificate (environment variable CHATKIT_REST__SERVER__TLS__CERTIFICATE): the certificate expired at 2020-01-01T00:00:00Z",
        ),
        (&pair, "http://localhost", "is http, while the gateway itself speaks https"),
        (&pair, "https://chat.example.org", "is not for chat.example.org"),
    ] {
        let url = ("CHATKIT_REST__SERVER__PUBLIC_URL", url);
        let ran = check(certificate.certificate.path(), certificate.key.path(), &[url]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert!(ran.out.contains(note), "{note} not in {}", ran.out);
    }
    let request =
        File::new("-----BEGIN CERTIFICATE REQUEST-----\nMAA=\n-----END CERTIFICATE REQUEST-----\n");
    let encrypted = File::new(
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    for (certificate, key, setting, problem) in [
        (
            pair.certificate.path(),
            other.key.path(),
            "server.tls.key",
            "it is not the key of the certificate",
        ),
        (request.path(), pair.key.path(), "server.tls.certificate", "it is a request (CSR)"),
        (
            pair.key.path(),
            pair.key.path(),
            "server.tls.certificate",
            "it has a private key and no certificate",
        ),
        (
            pair.certificate.path(),
            encrypted.path(),
            "server.tls.key",
            "`openssl pkey -in FILE -out NEW` takes it off",
        ),
        (
            pair.certificate.path(),
            "/nowhere/server.key",
            "server.tls.key",
            "the file \"/nowhere/server.key\" can't be used: No such file",
        ),
        (
            pair.certificate.path(),
            "",
            "server.tls.key",
            "missing; server.tls.certificate expects its private key's file",
        ),
        (
            "",
            pair.key.path(),
            "server.tls.certificate",
            "missing; server.tls.key expects its certificate's file",
        ),
    ] {
        let ran = check(certificate, key, &[]);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""));
        assert!(ran.err.contains(&format!("error: {setting} ")), "{setting} not in {}", ran.err);
        assert!(ran.err.contains(problem), "{problem} not in {}", ran.err);
    }
    // Without TLS nobody shows a certificate.
    let alone = [("CHATKIT_REST__SERVER__TLS__CLIENT_CA", pair.certificate.path())];
    let ran = check("", "", &alone);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("where nobody shows a certificate"), "{}", ran.err);
}

#[test]
fn the_upstreams_files_are_checked_too_and_those_without_use_named() {
    let (pair, other) = (pair_until(2999), pair_until(2999));
    let checked = |url: &str, key: &str| {
        run(
            &["check", "--store", "memory:", "--upstream", url],
            &[
                ("CHATKIT_REST__AUTH__SECRET", SECRET),
                ("CHATKIT_REST__UPSTREAM__CA", pair.certificate.path()),
                ("CHATKIT_REST__UPSTREAM__CLIENT_CERTIFICATE", pair.certificate.path()),
                ("CHATKIT_REST__UPSTREAM__CLIENT_KEY", key),
            ],
        )
    };
    let fine = checked("https://chat.internal/chatkit", pair.key.path());
    assert_eq!((fine.code, fine.err.as_str()), (0, ""));
    assert!(!fine.out.contains("note: "), "{}", fine.out);
    let idle = checked("http://chat.internal/chatkit", pair.key.path());
    assert_eq!(
        idle.out.matches("has no effect: upstream.url is http\n").count(),
        2,
        "{}",
        idle.out
    );
    let wrong = checked("https://chat.internal/chatkit", other.key.path());
    assert_eq!(wrong.code, 2);
    assert!(wrong.err.contains("error: upstream.client_key "), "{}", wrong.err);
}

#[test]
fn serve_says_that_it_speaks_https() {
    let pair = pair_until(2999);
    let mut serving = Serving::start(&[
        ("CHATKIT_REST__UPSTREAM__URL", "embedded"),
        ("CHATKIT_REST__LOG__FORMAT", "text"),
        ("CHATKIT_REST__SERVER__TLS__CERTIFICATE", pair.certificate.path()),
        ("CHATKIT_REST__SERVER__TLS__KEY", pair.key.path()),
        ("CHATKIT_REST__ADMIN__LISTEN", "127.0.0.1:0"),
    ]);
    serving.line("listening on https://127.0.0.1:");
    // The listener that is for who looks after it has none.
    serving.line("at http://127.0.0.1:");
    serving.line("(admin.listen)");
}
