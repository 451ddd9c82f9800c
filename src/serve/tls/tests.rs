#![allow(clippy::unwrap_used, reason = "tests")]

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use super::*;

/// The files of a certificate, and what it is.
struct Files {
    dir: tempfile::TempDir,
    tls: Tls,
}

impl Files {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tls = Tls { cert: dir.path().join("cert.pem"), key: dir.path().join("key.pem") };
        Self { dir, tls }
    }

    /// Writes a new pair, and returns the certificate.
    fn renew(&self) -> CertificateDer<'static> {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(&self.tls.cert, cert.pem()).unwrap();
        std::fs::write(&self.tls.key, signing_key.serialize_pem()).unwrap();
        cert.der().clone()
    }
}

/// Shakes hands as a client that trusts `cert` and speaks `protocols`; returns the
/// one that was chosen.
async fn shake(acceptor: &Acceptor, cert: &CertificateDer<'static>, protocols: &[&str]) -> io::Result<Option<String>> {
    let mut roots = RootCertStore::empty();
    roots.add(cert.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let (client, server) = tokio::io::duplex(64 << 10);
    let connector = TlsConnector::from(Arc::new(config));
    let name = ServerName::try_from("localhost").unwrap();
    let (client, server) = tokio::join!(connector.connect(name, client), acceptor.accept(server));
    client?;
    let chosen = server?.get_ref().1.alpn_protocol().map(|name| String::from_utf8(name.to_vec()).unwrap());
    Ok(chosen)
}

impl Acceptor {
    /// Lets the next handshake look at the files, as it would a second later.
    fn wait(&self) {
        let mut current = self.0.current();
        current.looked = current.looked.checked_sub(LOOK).unwrap();
    }
}

#[tokio::test]
async fn speaks_http_2_and_1() {
    let files = Files::new();
    let cert = files.renew();
    let acceptor = Acceptor::new(&files.tls).unwrap();
    for (protocols, chosen) in [(&["h2", "http/1.1"][..], Some("h2")), (&["http/1.1"], Some("http/1.1")), (&[], None)] {
        assert_eq!(shake(&acceptor, &cert, protocols).await.unwrap().as_deref(), chosen);
    }
    let stranger = Files::new().renew();
    assert!(shake(&acceptor, &stranger, &[]).await.is_err());
}

#[tokio::test]
async fn reads_changed_files_and_keeps_the_old_pair_while_they_are_broken() {
    let files = Files::new();
    let old = files.renew();
    let acceptor = Acceptor::new(&files.tls).unwrap();
    let key = std::fs::read(&files.tls.key).unwrap();
    let new = files.renew();
    assert!(shake(&acceptor, &old, &[]).await.is_ok(), "looks at most once a second");
    // The certificate is there, its key is not yet.
    let new_key = std::fs::read(&files.tls.key).unwrap();
    let broken: [&dyn Fn(); 3] =
        [&|| std::fs::write(&files.tls.key, &key).unwrap(), &|| std::fs::write(&files.tls.key, "").unwrap(), &|| {
            std::fs::remove_file(&files.tls.key).unwrap()
        }];
    for breaks in broken {
        breaks();
        for _ in 0..2 {
            acceptor.wait();
            assert!(shake(&acceptor, &old, &[]).await.is_ok());
        }
        assert!(acceptor.0.current().said.is_some());
    }
    std::fs::write(&files.tls.key, new_key).unwrap();
    acceptor.wait();
    assert!(shake(&acceptor, &new, &[]).await.is_ok() && shake(&acceptor, &old, &[]).await.is_err());
    assert_eq!(acceptor.0.current().said, None);
}

#[test]
fn errors_name_the_file() {
    let files = Files::new();
    let error = |files: &Files| {
        let error = Acceptor::new(&files.tls).unwrap_err().to_string();
        format!("{}\n", error.replace(&files.dir.path().display().to_string(), "/dir"))
    };
    let mut said = error(&files);
    std::fs::write(&files.tls.cert, "x").unwrap();
    said += &error(&files);
    std::fs::write(&files.tls.cert, "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n").unwrap();
    said += &error(&files);
    files.renew();
    let key = std::fs::read(&files.tls.key).unwrap();
    std::fs::write(&files.tls.key, "").unwrap();
    said += &error(&files);
    files.renew();
    std::fs::write(&files.tls.key, key).unwrap();
    said += &error(&files);
    insta::assert_snapshot!(said, @"
    cannot read /dir/cert.pem (`[serve] tls`): No such file or directory (os error 2)
    /dir/cert.pem (`[serve] tls`) contains no certificate in PEM format
    /dir/cert.pem (`[serve] tls`) contains no certificate in PEM format: base64 decode error: InvalidCharacter(33)
    /dir/key.pem (`[serve] tls`) contains no private key in PEM format: no items found
    cannot use the certificate /dir/cert.pem with the key /dir/key.pem (`[serve] tls`): keys may not be consistent: KeyMismatch
    ");
}

#[tokio::test]
async fn a_client_that_says_nothing_is_given_up() {
    let files = Files::new();
    files.renew();
    let mut acceptor = Acceptor::new(&files.tls).unwrap();
    Arc::get_mut(&mut acceptor.0).unwrap().patience = Duration::from_millis(1);
    let (_client, server) = tokio::io::duplex(1024);
    let error = acceptor.accept(server).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}
