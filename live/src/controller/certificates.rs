//! How a controller, and whoever calls it, knows the other end: certificate files, or nothing on loopback.
//!
//! All controllers go by one name, [`SERVER_NAME`], which every certificate of theirs must have among its DNS names,
//! with the role `node`: that is what callers expect, whichever member they reach.

use std::fs;
use std::path::{Path, PathBuf};

use anyedge_ccn::rpc::{ClientSecurity, Identity, Role, ServerSecurity, Tls};
use anyhow::{Context as _, Result};

use crate::host::LiveHost;
use crate::lab::refused::{Refused, refuse};

/// The DNS name in every controller's certificate.
pub const SERVER_NAME: &str = "controller";

/// Who may speak with whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Security {
    /// Nobody is known, and everybody may do everything: loopback alone.
    Plain,
    /// Both ends show certificates.
    Tls(CertificateFiles),
}

/// PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// One's own certificate.
    pub certificate: PathBuf,
    /// The key to it.
    pub key: PathBuf,
    /// The certificate of the authority that vouches for both ends.
    pub authority: PathBuf,
}

/// Both directions of it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// For calls that one makes.
    pub client: ClientSecurity,
    /// For calls that one takes.
    pub server: ServerSecurity,
}

impl Security {
    /// Reads the files.
    ///
    /// # Errors
    /// [`Refused`] when one cannot be read or is not what it should be.
    pub fn load(&self, host: &LiveHost) -> Result<Loaded> {
        let files = match self {
            Security::Plain => {
                return Ok(Loaded {
                    client: ClientSecurity::Plain,
                    server: ServerSecurity::Plain(Role::Operator),
                });
            }
            Security::Tls(files) => files,
        };
        let [certificate, key, authority] =
            [&files.certificate, &files.key, &files.authority].map(|path| read(path));
        let identity = Identity::from_pem(&certificate?, &key?, &authority?);
        let tls = match identity.map(|identity| Tls::new(host, &identity)) {
            Ok(Ok(tls)) => tls,
            Ok(Err(error)) => refuse!("{}: {error}", files.certificate.display()),
            Err(error) => refuse!(
                "{}, {}, {}: {error}",
                files.certificate.display(),
                files.key.display(),
                files.authority.display()
            ),
        };
        let client = ClientSecurity::Tls {
            tls: tls.clone(),
            server: SERVER_NAME.to_owned(),
        };
        let server = ServerSecurity::Tls(tls);
        Ok(Loaded { client, server })
    }
}

fn read(path: &Path) -> Result<String> {
    let text = fs::read_to_string(path);
    text.map_err(|error| Refused::because(format!("{}: {error}", path.display())))
        .context("a certificate, its key and the authority's certificate are PEM files")
}
