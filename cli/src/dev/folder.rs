//! `.anyedge` of the current folder: what a group that runs there tells `anyedge ctl`, gone with the group.
//!
//! The folder remembers whose it is. One whose owner has ended, by `kill -9` say, is taken over; that of a living one,
//! or of a person, is left alone. `servers` is written last: who waits for it can begin.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyedge_ccn::rpc::{Authority, Issued, Role};
use anyedge_live::controller::{CertificateFiles, SERVER_NAME};
use anyedge_live::host::LiveHost;
use anyedge_live::lab::process::ProcessId;

use crate::ctl::place::{CERTIFICATES, FOLDER, SERVERS};
use crate::ctl::trouble::Trouble;

const OWNER: &str = "owner.json";
const DATA: &str = "data";
/// The controllers' certificate and its key.
const CONTROLLER: [&str; 2] = ["controller.pem", "controller.key"];

/// The folder, removed when this goes.
pub(crate) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes the folder in the current one.
    pub(crate) fn make() -> Result<Folder, Trouble> {
        let path = Path::new(FOLDER).to_owned();
        if path.exists() {
            let owner = fs::read(path.join(OWNER)).ok();
            let owner = owner.and_then(|text| serde_json::from_slice::<ProcessId>(&text).ok());
            match owner {
                Some(owner) if owner.is_alive() => {
                    return Err(Trouble::refused(
                        format_args!("process {} runs a group in this folder already", owner.pid),
                        "use it (anyedge ctl targets), end it, or go to another folder",
                    ));
                }
                Some(_) => fs::remove_dir_all(&path)?,
                None => {
                    return Err(Trouble::refused(
                        format_args!("{FOLDER} is there, and none of `anyedge dev`"),
                        "move it away, or go to another folder",
                    ));
                }
            }
        }
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        let folder = Folder { path };
        let own = ProcessId::of(std::process::id());
        let own = own.ok_or_else(|| Trouble::failed("this process is not to be found in /proc"))?;
        let own = serde_json::to_vec(&own).map_err(Trouble::failed)?;
        folder.write(OWNER, &own)?;
        Ok(folder)
    }

    /// Issues certificates of an authority that nobody keeps: the controllers' and an operator's.
    pub(crate) fn issue(&self, host: &LiveHost) -> Result<Certificates, Trouble> {
        let mut authority = Authority::new(host).map_err(Trouble::failed)?;
        let mut issue = |name, role| authority.issue(name, role).map_err(Trouble::failed);
        let Issued {
            certificate,
            key,
            authority: vouches,
        } = issue(SERVER_NAME, Role::Node)?;
        let operator = issue("operator", Role::Operator)?;
        let [client, client_key, ca] = CERTIFICATES;
        let [server, server_key] = CONTROLLER;
        for (name, text) in [
            (ca, vouches),
            (server, certificate),
            (server_key, key),
            (client, operator.certificate),
            (client_key, operator.key),
        ] {
            self.write(name, text.as_bytes())?;
        }
        let files = |certificate, key| CertificateFiles {
            certificate: self.path.join(certificate),
            key: self.path.join(key),
            authority: self.path.join(ca),
        };
        Ok(Certificates {
            controller: files(server, server_key),
            operator: files(client, client_key),
        })
    }

    /// Where the controllers' data goes that nobody keeps.
    pub(crate) fn data(&self) -> PathBuf {
        self.path.join(DATA)
    }

    /// Tells where the controllers are.
    pub(crate) fn announce(&self, servers: &[String]) -> io::Result<()> {
        let aside = format!("{SERVERS}.new");
        self.write(&aside, (servers.join("\n") + "\n").as_bytes())?;
        fs::rename(self.path.join(aside), self.path.join(SERVERS))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        options.open(self.path.join(name))?.write_all(bytes)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Who shows what.
pub(crate) struct Certificates {
    pub(crate) controller: CertificateFiles,
    pub(crate) operator: CertificateFiles,
}
