//! A certificate in files, and clients that trust it.

use std::net::SocketAddr;
use std::path::PathBuf;

use herdsman::owner::settings::serve::Tls;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use reqwest::{Client, ClientBuilder};

/// The name in the certificate.
pub const NAME: &str = "herdsman.test";

/// A certificate and its key.
pub struct Certificate {
    directory: tempfile::TempDir,
    pem: String,
}

impl Certificate {
    pub fn new() -> Self {
        let mut certificate = Self { directory: tempfile::tempdir().unwrap(), pem: String::new() };
        certificate.renew();
        certificate
    }

    /// Replaces both files; clients made from now on trust nothing but the new one.
    pub fn renew(&mut self) {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed([NAME.to_owned()]).unwrap();
        self.pem = cert.pem();
        std::fs::write(self.cert(), &self.pem).unwrap();
        std::fs::write(self.key(), signing_key.serialize_pem()).unwrap();
    }

    pub fn cert(&self) -> PathBuf {
        self.directory.path().join("cert.pem")
    }

    pub fn key(&self) -> PathBuf {
        self.directory.path().join("key.pem")
    }

    pub fn tls(&self) -> Tls {
        Tls { cert: self.cert(), key: self.key() }
    }

    /// A client that chooses HTTP/2 where it can, and reaches [`NAME`] at `port`.
    pub fn client(&self, port: u16) -> Client {
        self.builder(port).build().unwrap()
    }

    /// A client that speaks HTTP/1.1 alone.
    pub fn client_of_http1(&self, port: u16) -> Client {
        self.builder(port).http1_only().build().unwrap()
    }

    fn builder(&self, port: u16) -> ClientBuilder {
        // Fails when one is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let trusted = reqwest::Certificate::from_pem(self.pem.as_bytes()).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        Client::builder().tls_certs_only([trusted]).resolve(NAME, address).no_proxy()
    }
}

/// The address of a path.
pub fn url(port: u16, path: &str) -> String {
    format!("https://{NAME}:{port}{path}")
}
