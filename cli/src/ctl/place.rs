//! Where the controllers are and how they are known: flags, else the environment, else `.anyedge` of this folder.

use std::env;
use std::fs;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};

use anyedge_live::controller::{CertificateFiles, Security};

use super::trouble::Trouble;
use crate::args::SecurityArgs;

/// What `anyedge dev` writes and `anyedge ctl` reads.
pub(crate) const FOLDER: &str = ".anyedge";
/// The controllers' addresses in it, one a line.
pub(crate) const SERVERS: &str = "servers";
/// The operator's certificate, its key, and the authority's certificate in it.
pub(crate) const CERTIFICATES: [&str; 3] = ["client.pem", "client.key", "ca.pem"];

/// The controllers to ask.
pub(crate) struct Place {
    pub(crate) servers: Vec<SocketAddr>,
    pub(crate) security: Security,
}

impl Place {
    /// Those that are named somewhere.
    ///
    /// # Errors
    /// When none is, or one by a name that has no address.
    pub(crate) fn find(servers: &[String], security: &SecurityArgs) -> Result<Place, Trouble> {
        Self::find_any(servers, security)?.ok_or_else(|| {
            Trouble::refused(
                "no controller is named",
                "give --server ADDRESS:PORT or ANYEDGE_SERVER, or say `anyedge dev FILE` in this folder",
            )
        })
    }

    /// Those that are named somewhere, if any is.
    ///
    /// # Errors
    /// When one is named that has no address.
    pub(crate) fn find_any(
        servers: &[String],
        security: &SecurityArgs,
    ) -> Result<Option<Place>, Trouble> {
        let folder = Path::new(FOLDER);
        let named = env::var("ANYEDGE_SERVER").unwrap_or_default();
        let written = || fs::read_to_string(folder.join(SERVERS)).unwrap_or_default();
        let words: Vec<String> = if !servers.is_empty() {
            servers.to_vec()
        } else if !named.trim().is_empty() {
            named.split(',').map(str::to_owned).collect()
        } else {
            written().lines().map(str::to_owned).collect()
        };
        let mut found = Vec::new();
        for word in words.iter().map(|word| word.trim()) {
            if !word.is_empty() {
                found.extend(resolved(word)?);
            }
        }
        Ok((!found.is_empty()).then(|| Place {
            servers: found,
            security: security_of(security, folder),
        }))
    }
}

fn resolved(word: &str) -> Result<Vec<SocketAddr>, Trouble> {
    let addresses = word.to_socket_addrs();
    let addresses = addresses.map_err(|error| {
        Trouble::refused(
            format!("`{word}` is no controller's address: {error}"),
            "an address and a port, such as 10.0.0.1:7000",
        )
    })?;
    Ok(addresses.collect())
}

fn security_of(args: &SecurityArgs, folder: &Path) -> Security {
    if let Some(named) = args.named() {
        return named;
    }
    let of_environment = ["ANYEDGE_CERT", "ANYEDGE_KEY", "ANYEDGE_CA"].map(env::var_os);
    if let [Some(certificate), Some(key), Some(authority)] =
        of_environment.map(|it| it.map(PathBuf::from))
    {
        return Security::Tls(CertificateFiles {
            certificate,
            key,
            authority,
        });
    }
    let [certificate, key, authority] = CERTIFICATES.map(|name| folder.join(name));
    if certificate.exists() {
        return Security::Tls(CertificateFiles {
            certificate,
            key,
            authority,
        });
    }
    Security::Plain
}
