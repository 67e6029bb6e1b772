//! TLS towards receivers of alerts: the authorities that this machine trusts.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};

use super::SendError;

/// The configuration; what is on the disk is read on a blocking thread.
///
/// # Errors
/// A text for people when this machine trusts nobody.
pub(super) async fn trusting() -> Result<ClientConfig, SendError> {
    let loaded = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs)
        .await
        .map_err(|error| SendError::new(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(loaded.certs);
    if usable == 0 {
        let why = loaded.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
        return Err(SendError::new(format!("this machine has no trusted certificates{why}")));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .map_err(|error| SendError::new(error.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
