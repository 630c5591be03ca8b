//! Certificate authorities for machines that have none installed, such as a lab, or a container of this binary alone.
//! The HTTP client refuses to start without any, even where all it will ever speak is plain http.

use std::io::{self, Write};
use std::os::fd::{AsRawFd, IntoRawFd};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::process;

/// Makes sure that TLS works: chooses the implementation, and where the machine has no certificate authorities, offers
/// Mozilla's (compiled into this binary) under `SSL_CERT_FILE`. Called once by `main`, while there is one thread.
pub fn ensure_certificates() -> io::Result<()> {
    // An error says that one is installed already: then it is this one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    if !rustls_native_certs::load_native_certs().certs.is_empty() {
        return Ok(());
    }
    // A file without a name, so that nothing is left behind. It stays open as long as the process lives.
    let mut file = std::fs::File::from(memfd_create(c"certificates", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(bundle().as_bytes())?;
    process::set_variable("SSL_CERT_FILE", &format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    let _ = file.into_raw_fd();
    Ok(())
}

/// Mozilla's certificate authorities in the format of `SSL_CERT_FILE` (RFC 7468).
fn bundle() -> String {
    let armoured = |certificate: &rustls::pki_types::CertificateDer<'_>| {
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(certificate))
    };
    webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().map(armoured).collect()
}
