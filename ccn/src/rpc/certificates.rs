//! An authority of one's own, the certificates that it issues, and what they say.
//!
//! For tests, for `anyedge dev` and for small installations; a larger one issues its own. A certificate names
//! its holder as a DNS name and the holder's role as a URI, `anyedge:role/node`: both are read after the chain has
//! been verified, and a certificate without exactly one role is nobody's.

use core::fmt;

use anyedge_net::host::Host;
use anyedge_net::rng::Rng;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ED25519, SanType, date_time_ymd,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::peer::Role;

/// When certificates end that are to have no end: as far off as `rcgen` itself would put it.
const NEVER: (i32, u8, u8) = (4096, 1, 1);
const ROLE: &str = "anyedge:role/";
/// An Ed25519 key in PKCS #8 is this and its 32 bytes (RFC 8410 section 7).
const ED25519_PKCS8: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// Why a certificate could not be made or read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CertificateError(String);

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for CertificateError {}

fn because(error: impl fmt::Display) -> CertificateError {
    CertificateError(error.to_string())
}

/// Who one end is: its certificate, the key to it, and the authority that vouches for it and for others.
pub struct Identity {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) key: PrivateKeyDer<'static>,
    pub(super) authority: CertificateDer<'static>,
}

impl Clone for Identity {
    fn clone(&self) -> Identity {
        Identity {
            certificate: self.certificate.clone(),
            key: self.key.clone_key(),
            authority: self.authority.clone(),
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity")
    }
}

impl Identity {
    /// Reads the three parts as PEM.
    ///
    /// # Errors
    /// When one is not what it should be.
    pub fn from_pem(
        certificate: &str,
        key: &str,
        authority: &str,
    ) -> Result<Identity, CertificateError> {
        let read = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).map_err(because);
        Ok(Identity {
            certificate: read(certificate)?,
            key: PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(because)?,
            authority: read(authority)?,
        })
    }
}

/// A certificate that was issued, as files hold it.
#[derive(Clone)]
pub struct Issued {
    /// The certificate, PEM.
    pub certificate: String,
    /// Its key, PEM: a secret.
    pub key: String,
    /// The authority's certificate, PEM.
    pub authority: String,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").finish_non_exhaustive()
    }
}

impl Issued {
    /// What [`Tls`](super::Tls) takes.
    ///
    /// # Errors
    /// When a part was changed to something else.
    pub fn identity(&self) -> Result<Identity, CertificateError> {
        Identity::from_pem(&self.certificate, &self.key, &self.authority)
    }
}

/// Issues certificates.
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
    secrets: Option<Rng>,
}

impl Authority {
    /// A new authority. Its keys and those of whom it vouches for come from `host`'s secrets.
    ///
    /// # Errors
    /// When the machine has no randomness.
    pub fn new(host: &impl Host) -> Result<Authority, CertificateError> {
        let mut secrets = host.secrets("certificates");
        let key = key_pair(secrets.as_mut())?;
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "anyedge authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = params.self_signed(&key).map_err(because)?.pem();
        Ok(Authority {
            certificate,
            issuer: Issuer::new(params, key),
            secrets,
        })
    }

    /// Vouches for `name` (a DNS name, such as `pop.tokyo`) in `role`.
    ///
    /// # Errors
    /// When `name` cannot stand in a certificate.
    pub fn issue(&mut self, name: &str, role: Role) -> Result<Issued, CertificateError> {
        self.issue_until(name, role, NEVER)
    }

    /// As [`Authority::issue`], until the beginning of a day: year, month and day of the month.
    ///
    /// # Errors
    /// When `name` cannot stand in a certificate.
    pub fn issue_until(
        &mut self,
        name: &str,
        role: Role,
        (year, month, day): (i32, u8, u8),
    ) -> Result<Issued, CertificateError> {
        let key = key_pair(self.secrets.as_mut())?;
        let mut params = CertificateParams::new([name.to_owned()]).map_err(because)?;
        params.not_after = date_time_ymd(year, month, day);
        params.distinguished_name.push(DnType::CommonName, name);
        let uri = format!("{ROLE}{}", role.name());
        let uri = uri.try_into().map_err(because)?;
        params.subject_alt_names.push(SanType::URI(uri));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let certificate = params.signed_by(&key, &self.issuer).map_err(because)?;
        Ok(Issued {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            authority: self.certificate.clone(),
        })
    }
}

fn key_pair(secrets: Option<&mut Rng>) -> Result<KeyPair, CertificateError> {
    let Some(rng) = secrets else {
        return KeyPair::generate_for(&PKCS_ED25519).map_err(because);
    };
    let mut bytes = ED25519_PKCS8.to_vec();
    bytes.resize(ED25519_PKCS8.len() + 32, 0);
    rng.fill(&mut bytes[ED25519_PKCS8.len()..]);
    let bytes = PrivatePkcs8KeyDer::from(bytes);
    KeyPair::from_pkcs8_der_and_sign_algo(&bytes, &PKCS_ED25519).map_err(because)
}

/// The name and role in a certificate whose chain was verified; `None` when it lacks one or has two roles.
pub(super) fn read_peer(certificate: &CertificateDer<'_>) -> Option<(String, Role)> {
    let parsed = webpki::EndEntityCert::try_from(certificate).ok()?;
    let name = parsed.valid_dns_names().next()?.to_owned();
    let mut roles = parsed
        .valid_uri_names()
        .filter_map(|uri| uri.strip_prefix(ROLE));
    let role = Role::of_name(roles.next()?)?;
    roles.next().is_none().then_some((name, role))
}
