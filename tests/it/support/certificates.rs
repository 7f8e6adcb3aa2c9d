//! A certificate authority of the test's own, and what it signs.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

pub struct Authority {
    directory: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, as PEM files.
pub struct Certificate {
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "an authority of tests");
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let authority = Self { directory: tempfile::tempdir().unwrap(), issuer: Issuer::new(params, key) };
        fs::write(authority.ca(), certificate.pem()).unwrap();
        authority
    }

    /// Its own certificate, as a PEM file.
    pub fn ca(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// A certificate for hosts or addresses; `file` names its files.
    pub fn certify(&self, file: &str, names: &[&str]) -> Certificate {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let path = |kind: &str| self.directory.path().join(format!("{file}.{kind}.pem"));
        let written = |path: PathBuf, pem: String| {
            fs::write(&path, pem).unwrap();
            path
        };
        Certificate { cert: written(path("cert"), certificate.pem()), key: written(path("key"), key.serialize_pem()) }
    }
}

impl Certificate {
    /// The `tls` block of a server that shows this certificate.
    pub fn server_config(&self, more: &str) -> String {
        let quoted = |path: &Path| path.display().to_string();
        format!("tls {{ cert_file: {:?}, key_file: {:?}, {more} }}\n", quoted(&self.cert), quoted(&self.key))
    }
}
