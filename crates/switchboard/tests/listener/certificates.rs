//! Certificates of a listener: the choice for each client, and the reload of changed files.

use std::time::Duration;

use switchboard::Tls;

use crate::harness::{Server, eventually, get, metric};
use crate::tls_client::{Certificate, Folder, Trust};

#[tokio::test]
async fn a_client_gets_the_certificate_of_the_name_it_asks_for() {
    let (first, second) = (Certificate::of("one.example"), Certificate::of("*.two.example"));
    let folder = Folder::new();
    let (certificate, key) = second.files(&folder);
    let tls = first.tls().and_files(certificate, key).expect("a good pair");
    let server = Server::with_tls(tls).await;
    let trust = Trust::of([&first, &second]);
    for (name, expected) in [("one.example", &first), ("a.two.example", &second), ("one.example", &first)] {
        let client = trust.try_connect(server.address, name).await.expect("a certificate for it");
        assert_eq!(client.certificate(), expected.der, "{name}");
    }
    // A client that asks for none of the names gets the first certificate; this client does not accept it.
    let error = trust.try_connect(server.address, "three.example").await.map(drop).expect_err("another's");
    assert!(error.to_string().contains("one.example"), "{error}");
    eventually("it is counted", async || {
        metric("switchboard_tls_handshake_errors_total", "refused by the client") > 0.0
    })
    .await;
}

#[tokio::test]
async fn certificates_are_read_again_when_their_files_have_changed() {
    let folder = Folder::new();
    let (old, new) = (Certificate::of("localhost"), Certificate::of("localhost"));
    let (certificate, key) = old.files(&folder);
    let tls = Tls::files(&certificate, &key).expect("a good pair").reload_interval(Duration::from_millis(10));
    let server = Server::with_tls(tls.clone()).await;
    let trust = Trust::of([&old, &new]);
    let mut before = trust.connect(server.address).await;
    assert_eq!(before.certificate(), old.der);
    new.write(&certificate, &key);
    eventually("the new one is taken", async || trust.connect(server.address).await.certificate() == new.der)
        .await;
    assert!(metric("switchboard_tls_reloads_total", "taken") > 0.0);
    // An older connection stays open.
    before.send(get("/nothing", "")).await;
    before.until("not found\n").await;
}

#[tokio::test]
async fn a_link_that_points_elsewhere_is_a_change() {
    use std::os::unix::fs::symlink;
    // As Kubernetes mounts secrets: the files are links into `data`, which is itself a link that is replaced.
    let folder = Folder::new();
    let certificates = [Certificate::of("localhost"), Certificate::of("localhost")];
    for (name, certificate) in ["1", "2"].iter().zip(&certificates) {
        std::fs::create_dir(folder.path(name)).expect("it is new");
        certificate.write(&folder.path(name).join("tls.crt"), &folder.path(name).join("tls.key"));
    }
    symlink("1", folder.path("data")).expect("it is new");
    symlink("data/tls.crt", folder.path("tls.crt")).expect("it is new");
    symlink("data/tls.key", folder.path("tls.key")).expect("it is new");
    let tls = Tls::files(folder.path("tls.crt"), folder.path("tls.key")).expect("a good pair");
    let server = Server::with_tls(tls.clone().reload_interval(Duration::ZERO)).await;
    let trust = Trust::of(&certificates);
    assert_eq!(trust.connect(server.address).await.certificate(), certificates[0].der);
    assert!(!tls.reload().expect("nothing has changed"));
    symlink("2", folder.path("data.new")).expect("it is new");
    std::fs::rename(folder.path("data.new"), folder.path("data")).expect("it takes its place");
    assert!(tls.reload().expect("they are good"));
    assert_eq!(trust.connect(server.address).await.certificate(), certificates[1].der);
}

#[tokio::test]
async fn new_files_that_are_broken_leave_the_old_certificate() {
    let folder = Folder::new();
    let (old, other) = (Certificate::of("localhost"), Certificate::of("localhost"));
    let (certificate, key) = old.files(&folder);
    let tls = Tls::files(&certificate, &key).expect("a good pair");
    let server = Server::with_tls(tls.clone()).await;
    let trust = Trust::of([&old, &other]);
    let failed = || metric("switchboard_tls_reloads_total", "failed");
    for (what, contents, part) in [
        ("an empty file", "", "certificate.pem"),
        ("garbage", "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n", "certificate.pem"),
        ("another's certificate", &other.pem, "certificate.pem"),
        ("a key for a certificate", &old.key, "certificate.pem"),
    ] {
        std::fs::write(&certificate, contents).expect("it can be written");
        let before = failed();
        let error = tls.reload().expect_err(what);
        assert!(error.to_string().contains(part), "{what}: {error}");
        assert!(failed() > before, "{what}");
        // Logged once, not at each check.
        assert!(!tls.reload().expect("it has not changed"), "{what}");
        assert_eq!(trust.connect(server.address).await.certificate(), old.der, "{what}");
    }
    std::fs::remove_file(&certificate).expect("it is there");
    let error = tls.reload().expect_err("it is gone");
    assert!(
        error.kind() == std::io::ErrorKind::NotFound && error.to_string().contains("certificate.pem"),
        "{error}"
    );
    other.write(&certificate, &key);
    assert!(tls.reload().expect("they are good"));
    assert_eq!(trust.connect(server.address).await.certificate(), other.der);
}

#[test]
fn an_unusable_certificate_is_an_error_at_the_start() {
    let folder = Folder::new();
    let (one, other) = (Certificate::of("localhost"), Certificate::of("localhost"));
    let (certificate, key) = one.files(&folder);
    let missing = folder.path("missing.pem");
    for (certificate, key, part) in [
        (&missing, &key, "missing.pem"),
        (&certificate, &missing, "missing.pem"),
        (&key, &key, "no certificate"),
    ] {
        let error = Tls::files(certificate, key).expect_err("it is not good");
        assert!(error.to_string().contains(part), "{error}");
    }
    let error = Tls::files(&certificate, &certificate).expect_err("no key");
    assert!(error.to_string().contains("no private key"), "{error}");
    assert!(Tls::pem(one.pem.as_bytes(), other.key.as_bytes()).is_err(), "another's key");
    assert!(Tls::self_signed(["localhost", "127.0.0.1", "::1"]).is_ok());
    assert!(Tls::self_signed(["\u{e4}"]).is_err());
}
