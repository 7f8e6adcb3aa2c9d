//! TLS to the server.

use std::path::Path;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::settings::nats::NatsTls;

/// Why there is no TLS with a server.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot use {file}: {why}")]
    File { file: String, why: String },
    #[error("the system has no root certificates: {0}")]
    NoRoots(String),
    #[error("{0:?} is not a name that a certificate can hold")]
    Name(String),
    #[error("TLS with {name}")]
    Handshake {
        name: String,
        #[source]
        source: std::io::Error,
    },
    #[error("TLS settings: {0}")]
    Settings(String),
    #[error("the server does not offer TLS")]
    NotOffered,
}

/// Speaks TLS over `socket` to a server whose certificate must be for `name`.
pub(super) async fn secure<S>(socket: S, name: &str, settings: &NatsTls) -> Result<TlsStream<S>, TlsError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let server = ServerName::try_from(name.to_owned()).map_err(|_| TlsError::Name(name.to_owned()))?;
    let settings = settings.clone();
    // Read anew for each connection: certificates are replaced while the node runs.
    let config = tokio::task::spawn_blocking(move || client_config(&settings))
        .await
        .map_err(|error| TlsError::Settings(error.to_string()))??;
    TlsConnector::from(Arc::new(config))
        .connect(server, socket)
        .await
        .map_err(|source| TlsError::Handshake { name: name.to_owned(), source })
}

/// Whether the files of `settings` hold what they should.
///
/// # Errors
/// When one does not.
pub fn check_tls(settings: &NatsTls) -> Result<(), TlsError> {
    let named = settings.ca_file.is_some() || settings.cert_file.is_some();
    if named { client_config(settings).map(drop) } else { Ok(()) }
}

fn client_config(settings: &NatsTls) -> Result<ClientConfig, TlsError> {
    let refused = |error: tokio_rustls::rustls::Error| TlsError::Settings(error.to_string());
    let roots = match &settings.ca_file {
        Some(file) => roots_of(file)?,
        None => native_roots()?,
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(refused)?
        .with_root_certificates(roots);
    match (&settings.cert_file, &settings.key_file) {
        (Some(cert), Some(key)) => {
            let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key, &error))?;
            builder.with_client_auth_cert(certificates(cert)?, key).map_err(refused)
        }
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(_), None) => Err(TlsError::Settings("a client certificate without its key".to_owned())),
        (None, Some(_)) => Err(TlsError::Settings("a client key without its certificate".to_owned())),
    }
}

fn roots_of(file: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|error| unusable(file, &error))?;
    }
    Ok(roots)
}

fn native_roots() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let why = found.errors.first().map_or_else(|| "set nats.tls.ca_file".to_owned(), ToString::to_string);
        return Err(TlsError::NoRoots(why));
    }
    Ok(roots)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Vec<_> =
        CertificateDer::pem_file_iter(file).and_then(Iterator::collect).map_err(|error| unusable(file, &error))?;
    if found.is_empty() {
        return Err(TlsError::File { file: file.display().to_string(), why: "no certificate in it".to_owned() });
    }
    Ok(found)
}

fn unusable(file: &Path, error: &dyn std::fmt::Display) -> TlsError {
    TlsError::File { file: file.display().to_string(), why: error.to_string() }
}
