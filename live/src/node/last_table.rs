//! The last table of a node, on its disk: what it serves by after a restart, before it has heard a controller.
//!
//! The file is a snapshot of the table, which has a checksum of its own; it is written aside, synced and renamed, so that
//! a crash leaves the one before. It holds the key that flows are hashed with, and only its owner may read it. One that is
//! damaged is told of and left out of account.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyedge_ccn::table::Table;
use anyhow::{Context, Result};

/// The file's name in the node's folder.
const NAME: &str = "table.snapshot";
/// The one that is being written.
const ASIDE: &str = "table.snapshot.new";

/// A node's folder.
#[derive(Clone, Debug)]
pub(super) struct LastTable {
    folder: PathBuf,
}

impl LastTable {
    /// In `folder`, which is made if need be.
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let mut builder = DirBuilder::new();
        let made = builder.recursive(true).mode(0o700).create(folder);
        made.with_context(|| format!("cannot make {}", folder.display()))?;
        let folder = folder.to_owned();
        Ok(Self { folder })
    }

    /// The table, if there is a sound one.
    pub(super) fn read(&self) -> Option<Table> {
        let path = self.folder.join(NAME);
        let why = match fs::read(&path) {
            Ok(bytes) => match Table::restore(&bytes) {
                Ok(table) => return Some(table),
                Err(error) => error.to_string(),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => error.to_string(),
        };
        let file = path.display();
        tracing::warn!(event = "LastTableUnusable", %file, why);
        None
    }

    /// Keeps `table` in the place of the one before.
    pub(super) fn write(&self, table: &Table) -> Result<()> {
        let write = || -> std::io::Result<()> {
            let aside = self.folder.join(ASIDE);
            let mut options = OpenOptions::new();
            let options = options.write(true).create(true).truncate(true).mode(0o600);
            let mut file = options.open(&aside)?;
            file.write_all(&table.snapshot())?;
            file.sync_all()?;
            fs::rename(&aside, self.folder.join(NAME))?;
            File::open(&self.folder)?.sync_all()
        };
        let folder = self.folder.display();
        write().with_context(|| format!("cannot keep the table in {folder}"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::beginning::file_table;
    use super::*;
    use anyedge_topologies::Topology;

    #[test]
    fn the_last_table_is_read_back_and_a_damaged_one_is_none() {
        let text = include_str!("../../../topologies/two-pops.toml");
        let topology = Topology::parse("two-pops.toml", text).expect("a topology that is shipped");
        let table = file_table(&topology, 1).expect("it makes a table");
        let folder = std::env::temp_dir().join(format!("anyedge-last-{}", std::process::id()));
        let last = LastTable::open(&folder).expect("a folder");
        assert!(last.read().is_none());
        last.write(&table).expect("it can be kept");
        let back = last.read().expect("it is there");
        assert_eq!(back.snapshot(), table.snapshot());
        let path = folder.join(NAME);
        let mut bytes = fs::read(&path).expect("it is a file");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).expect("it can be damaged");
        assert!(last.read().is_none());
        fs::remove_dir_all(&folder).expect("it is ours");
    }
}
