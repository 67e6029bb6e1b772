//! TLS towards nodes: the machine's trusted roots, or any certificate at all.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use tokio::sync::OnceCell;

use crate::domain::node::Tls;

/// The configurations of `tls: insecure` and `tls: verify`; the latter is made when first used.
#[derive(Debug)]
pub struct Configs {
    provider: Arc<CryptoProvider>,
    insecure: Arc<ClientConfig>,
    verify: OnceCell<Arc<ClientConfig>>,
}

impl Configs {
    /// Makes the configuration that needs nothing of this machine.
    ///
    /// # Errors
    /// When the cryptography at hand supports no version of TLS.
    pub fn new() -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let any = Arc::new(AnyCertificate(provider.clone()));
        let mut insecure = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(rustls::ALL_VERSIONS)?
            .dangerous()
            .with_custom_certificate_verifier(any)
            .with_no_client_auth();
        insecure.resumption = Resumption::disabled();
        Ok(Self { provider, insecure: Arc::new(insecure), verify: OnceCell::new() })
    }

    /// The configuration for a node; `None` for `tls: off`.
    ///
    /// # Errors
    /// A text for people when this machine has no trusted certificates; tried again at the next call.
    pub async fn get(&self, tls: Tls) -> Result<Option<Arc<ClientConfig>>, String> {
        match tls {
            Tls::Off => Ok(None),
            Tls::Insecure => Ok(Some(self.insecure.clone())),
            Tls::Verify => {
                let config = self.verify.get_or_try_init(|| verifying(self.provider.clone()));
                Ok(Some(config.await?.clone()))
            }
        }
    }
}

async fn verifying(provider: Arc<CryptoProvider>) -> Result<Arc<ClientConfig>, String> {
    let loaded = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs)
        .await
        .map_err(|error| error.to_string())?;
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(loaded.certs);
    if usable == 0 {
        let why = loaded.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
        return Err(format!("this machine has no trusted certificates{why}"));
    }
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // Connections are kept; where one is lost the server has most often restarted, with another key.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// A short text for people about a failed handshake.
#[must_use]
pub fn explain(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(why) => {
            format!("the certificate is refused: {}", fault(why))
        }
        rustls::Error::InvalidMessage(_) => "the server does not speak TLS".to_owned(),
        rustls::Error::AlertReceived(alert) => {
            format!("the server refused the handshake: {alert:?}")
        }
        other => other.to_string(),
    }
}

fn fault(error: &CertificateError) -> String {
    use CertificateError as E;
    match error {
        E::UnknownIssuer => "nobody that this machine trusts has signed it".to_owned(),
        E::Expired | E::ExpiredContext { .. } => "it has expired".to_owned(),
        E::NotValidYet | E::NotValidYetContext { .. } => "it is not valid yet".to_owned(),
        E::NotValidForName | E::NotValidForNameContext { .. } => {
            "it is for another host".to_owned()
        }
        E::BadEncoding => "it cannot be read".to_owned(),
        E::Other(other) => other.0.to_string(),
        other => other.to_string(),
    }
}

/// Takes every certificate, without looking at it.
///
/// `monero-wallet-rpc` makes itself an X.509 v1 certificate at each start, which the certificate parser of
/// rustls refuses whatever a verifier thinks of it. So the handshake's signature is not checked either:
/// that needs the key out of the certificate, and proves only that the other side owns a key that anybody
/// could have made. `tls: insecure` hides the traffic from listeners, it does not prove who answers.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
