//! The folder of a sweep: a Parquet file for each run, and `sweep.json`, which says what the runs have in common.
//!
//! A file comes into being under another name, which no reader takes for a run's, and is renamed when it is whole. It is not
//! forced to the disk, which may take longer than a run: a file that a power cut damages is found out when the sweep goes on,
//! and made again. A run that is made twice, by two who did not know of each other, is the same file to the byte.
//!
//! Invariant: runs of another file, version, duration or other columns are never mixed in.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::axis::{Axis, Kind};
use super::row_set::{Level, RowSet};

const ENDING: &str = ".parquet";
const PARTIAL: &str = ".partial";
const IDENTITY: &str = "sweep.json";
/// Who still writes a file after that time is gone: it takes milliseconds.
const LEFT_BEHIND: Duration = Duration::from_secs(600);

/// What the runs of a folder have in common.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// Shape of this object and of the files.
    pub(crate) schema: u32,
    /// Of anyedge.
    pub(crate) version: String,
    /// The topology's name.
    pub(crate) topology: String,
    /// Of the file before anything was set.
    pub(crate) topology_hash: String,
    /// Simulated nanoseconds in which clients send; none where the file says.
    pub(crate) duration_ns: Option<u64>,
    /// What was set.
    pub(crate) columns: Vec<Column>,
}

/// A key that was set.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Column {
    /// As in the file.
    pub(crate) key: String,
    /// What its values are.
    pub(crate) kind: Kind,
    /// Of its figures.
    pub(crate) unit: Option<String>,
}

impl From<&Axis> for Column {
    fn from(axis: &Axis) -> Column {
        Column {
            key: axis.key.clone(),
            kind: axis.kind,
            unit: axis.kind.unit().map(str::to_owned),
        }
    }
}

impl Identity {
    /// In what another sweep is different, in words.
    fn difference(&self, there: &Identity) -> String {
        let columns = |of: &Identity| {
            let kinds = of
                .columns
                .iter()
                .map(|it| format!("{} ({:?})", it.key, it.kind));
            let kinds: Vec<String> = kinds.collect();
            if kinds.is_empty() {
                "nothing".to_owned()
            } else {
                kinds.join(", ")
            }
        };
        let duration = |of: &Identity| {
            let duration = of
                .duration_ns
                .map(|ns| format!("{:?}", Duration::from_nanos(ns)));
            duration.unwrap_or_else(|| "the file's own duration".to_owned())
        };
        if self.schema != there.schema || self.version != there.version {
            return format!("by version {}, this is {}", there.version, self.version);
        }
        if self.topology != there.topology {
            return format!("of {}, this is {}", there.topology, self.topology);
        }
        if self.topology_hash != there.topology_hash {
            return format!("of {} before it was changed", there.topology);
        }
        if self.duration_ns != there.duration_ns {
            return format!("of {}, not of {}", duration(there), duration(self));
        }
        format!("in which {} was set, not {}", columns(there), columns(self))
    }
}

/// Why a folder cannot be used.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It is another sweep's.
    Taken(String),
    /// The operating system said no.
    Failed(String),
}

/// The folder of a sweep.
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// The folder at `path`, for runs of `identity` alone; it is made if need be.
    pub(super) fn claim(path: &Path, identity: &Identity) -> Result<Folder, Trouble> {
        let told =
            |error: &dyn std::fmt::Display| Trouble::Failed(format!("{}: {error}", path.display()));
        fs::create_dir_all(path).map_err(|error| told(&error))?;
        let folder = Folder {
            path: path.to_owned(),
        };
        match fs::read(path.join(IDENTITY)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let text = serde_json::to_string_pretty(identity).map_err(|error| told(&error))?;
                folder
                    .write(IDENTITY, format!("{text}\n").as_bytes())
                    .map_err(Trouble::Failed)?;
            }
            Err(error) => return Err(told(&error)),
            Ok(text) => {
                let there = serde_json::from_slice::<Identity>(&text);
                let difference = match there {
                    Ok(there) if there == *identity => None,
                    Ok(there) => Some(format!("has runs {}", identity.difference(&there))),
                    Err(error) => Some(format!("has a {IDENTITY} that is none of ours: {error}")),
                };
                if let Some(difference) = difference {
                    let folder = path.display();
                    let hint = "another --out, or remove that folder";
                    return Err(Trouble::Taken(format!(
                        "{folder} {difference}\n  hint: {hint}"
                    )));
                }
            }
        }
        folder.sweep_out();
        Ok(folder)
    }

    /// The runs that seem to be there.
    pub(super) fn present(&self) -> Result<BTreeSet<String>, String> {
        let told = |error: io::Error| format!("{}: {error}", self.path.display());
        let names = runs(&self.path).map_err(told)?;
        let names = names.iter().filter_map(|path| path.file_stem());
        Ok(names
            .map(|name| name.to_string_lossy().into_owned())
            .collect())
    }

    /// The service levels of a run that is there whole.
    pub(super) fn verify(&self, run: &str) -> Option<Vec<Level>> {
        RowSet::open(&self.path.join(format!("{run}{ENDING}")))
            .ok()?
            .verify(run)
    }

    /// Puts the file of a run there.
    pub(super) fn put(&self, run: &str, bytes: &[u8]) -> Result<(), String> {
        self.write(&format!("{run}{ENDING}"), bytes)
    }

    /// Whether it takes files at all.
    pub(super) fn is_writable(&self) -> bool {
        let trial = self.path.join(format!(".trial.{}{PARTIAL}", process::id()));
        let written = fs::write(&trial, IDENTITY);
        let _ = fs::remove_file(&trial);
        written.is_ok()
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), String> {
        let partial = self
            .path
            .join(format!(".{name}.{}{PARTIAL}", process::id()));
        let path = self.path.join(name);
        let written = fs::File::create(&partial)
            .and_then(|mut file| file.write_all(bytes))
            .and_then(|()| fs::rename(&partial, &path));
        written.map_err(|error| {
            let _ = fs::remove_file(&partial);
            format!("{}: {error}", path.display())
        })
    }

    /// Takes away what those left behind who were ended while they wrote. It is in nobody's way: failing is no matter.
    fn sweep_out(&self) {
        let entries = fs::read_dir(&self.path).into_iter().flatten().flatten();
        for entry in entries {
            let name = entry.file_name();
            let modified = entry.metadata().and_then(|it| it.modified());
            let age = modified.ok().and_then(|at| at.elapsed().ok());
            if name.to_string_lossy().ends_with(PARTIAL) && age.is_some_and(|age| age > LEFT_BEHIND)
            {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// The files of runs in a folder, by name.
pub(crate) fn runs(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.ends_with(ENDING) && !name.starts_with('.') {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}
