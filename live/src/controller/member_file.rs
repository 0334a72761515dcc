//! What a data directory remembers of the member whose it is, in `member.json`.
//!
//! A log says what a member promised, not who it is. Two mistakes would break those promises: starting a member on
//! another's directory, and starting one anew that had promised something and lost it. Both are refused here, as
//! far as the directory can tell; the other members are asked for the rest.
//!
//! Invariant: once a member has begun, `member.json` says so, and `raft.log` is there too.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use anyedge_ccn::raft::LOG_NAME;
use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::lab::refused::refuse;

const NAME: &str = "member.json";
const ASIDE: &str = "member.json.new";
/// What a file system puts into an empty directory by itself.
const NOBODYS: &str = "lost+found";

/// The file's content.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct MemberFile {
    /// The member's number.
    pub(super) id: u64,
    /// It has had a log.
    pub(super) begun: bool,
    /// Members that it has heard.
    pub(super) heard: BTreeSet<u64>,
    #[serde(skip)]
    directory: PathBuf,
    #[serde(skip)]
    has_log: bool,
}

impl MemberFile {
    /// What `directory` says, which is made if need be, to the member `id`.
    pub(super) fn open(directory: &Path, id: u64) -> Result<MemberFile> {
        let shown = directory.display();
        let made = fs::create_dir_all(directory);
        made.with_context(|| format!("cannot make {shown}"))?;
        let has_log = directory.join(LOG_NAME).exists();
        let text = match fs::read_to_string(directory.join(NAME)) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if !is_empty(directory).with_context(|| format!("cannot read {shown}"))? {
                    refuse!(
                        "{shown} holds other things and no {NAME}: a controller wants a directory of its own"
                    );
                }
                return Ok(MemberFile {
                    id,
                    begun: false,
                    heard: BTreeSet::new(),
                    directory: directory.to_owned(),
                    has_log,
                });
            }
            Err(error) => return Err(error).with_context(|| format!("cannot read {shown}/{NAME}")),
        };
        let Ok(mut file) = serde_json::from_str::<MemberFile>(&text) else {
            refuse!("{shown}/{NAME} cannot be read: it is none of this program");
        };
        directory.clone_into(&mut file.directory);
        file.has_log = has_log;
        if file.id != id {
            refuse!(
                "{shown} is the data directory of member {}, not of member {id}: start it with --id {}, or give \
                 member {id} a directory of its own",
                file.id,
                file.id
            );
        }
        if file.begun && !has_log {
            refuse!("{}", lost(id, &format!("{shown} has lost its {LOG_NAME}")));
        }
        Ok(file)
    }

    /// Whether the member starts for the first time, as far as its directory can tell.
    pub(super) const fn is_new(&self) -> bool {
        !self.begun && !self.has_log
    }

    /// Makes what it says durable.
    pub(super) fn write(&self) -> Result<()> {
        let shown = self.directory.display();
        self.try_write()
            .with_context(|| format!("cannot write {shown}/{NAME}"))
    }

    fn try_write(&self) -> io::Result<()> {
        let aside = self.directory.join(ASIDE);
        let mut file = File::create(&aside)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        fs::rename(aside, self.directory.join(NAME))?;
        File::open(&self.directory)?.sync_all()
    }
}

/// Why a member that has lost its log must not go on under its number.
pub(super) fn lost(id: u64, how: &str) -> String {
    format!(
        "{how}. Member {id} may have promised what it no longer knows: have the others remove it \
         (anyedge ctl members remove {id}), and let this machine join under a number that was never used \
         (anyedge ctl members add NEW=ADDRESS, then --id NEW --join with an empty directory)"
    )
}

fn is_empty(directory: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        // A file that was being written when the first start ended says nothing yet.
        if name != NOBODYS && name != ASIDE {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::refused::Refused;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Scratch {
            let name = format!("anyedge-member-{}-{name}", std::process::id());
            Scratch(std::env::temp_dir().join(name))
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn refusal(directory: &Path, id: u64) -> String {
        let error = MemberFile::open(directory, id).expect_err("it is refused");
        assert!(error.is::<Refused>(), "{error:#}");
        format!("{error:#}")
    }

    #[test]
    fn a_directory_remembers_its_member_and_refuses_another() {
        let scratch = Scratch::new("other");
        let mut file = MemberFile::open(&scratch.0, 2).expect("an empty one is anybody's");
        assert!(file.is_new());
        file.heard.insert(3);
        file.write().expect("it can be written");
        let again = MemberFile::open(&scratch.0, 2).expect("it is its own");
        assert_eq!(again, file);
        assert!(again.is_new(), "it has not begun yet");
        let said = refusal(&scratch.0, 1);
        assert!(said.contains("of member 2, not of member 1"), "{said}");
    }

    #[test]
    fn a_member_whose_log_is_gone_is_told_to_join_as_another() {
        let scratch = Scratch::new("lost");
        let mut file = MemberFile::open(&scratch.0, 1).expect("an empty one is anybody's");
        file.begun = true;
        file.write().expect("it can be written");
        let said = refusal(&scratch.0, 1);
        assert!(said.contains("has lost its raft.log"), "{said}");
        assert!(said.contains("members remove 1"), "{said}");
        fs::write(scratch.0.join(LOG_NAME), "").expect("it can be written");
        assert!(MemberFile::open(&scratch.0, 1).is_ok());
    }

    #[test]
    fn a_directory_of_something_else_is_left_alone() {
        let scratch = Scratch::new("foreign");
        fs::create_dir_all(&scratch.0).expect("a folder");
        fs::write(scratch.0.join("letter.txt"), "dear").expect("it can be written");
        assert!(refusal(&scratch.0, 1).contains("holds other things"));
        fs::write(scratch.0.join(NAME), "dear").expect("it can be written");
        assert!(refusal(&scratch.0, 1).contains("none of this program"));
    }
}
