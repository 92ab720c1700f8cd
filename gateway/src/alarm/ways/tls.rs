//! The certificates that a webhook or a mail server is trusted by: those of the system, and a file of the settings.

use tokio::fs;

use super::DeliverError;
use crate::settings::LocalPath;

/// The longest file of certificates, in bytes.
const PEM_BYTES_MAX: usize = 4 << 20;

/// What is in a file of certificates.
pub(super) async fn pem(path: &LocalPath) -> Result<Vec<u8>, DeliverError> {
    let refused =
        |why: String| DeliverError::Refused(format!("the certificates in {path} cannot be used: {why}"));
    let bytes = fs::read(path.as_path()).await.map_err(|error| refused(error.to_string()))?;
    if bytes.len() > PEM_BYTES_MAX {
        return Err(refused(format!("the file has more than {PEM_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}
