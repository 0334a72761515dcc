//! Files of the kernel under the [`DurableFile`] contract: one folder, one opener at a time, names synced too.
//!
//! An advisory lock (flock) on each open file keeps a second process, and a second handle, away from it. After
//! a name was made, changed or removed the folder itself is synced, since `fsync` of a file does not cover its
//! name.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyedge_net::host::{DurableFile, check_name};

/// Where a host's files lie.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    handle: File,
}

/// An open file of a host.
#[derive(Debug)]
pub struct KernelFile(File);

impl Folder {
    pub(super) fn open(path: &Path) -> io::Result<Folder> {
        fs::create_dir_all(path)?;
        let handle = File::open(path)?;
        let path = path.to_owned();
        Ok(Folder { path, handle })
    }

    pub(super) fn open_file(&self, name: &str) -> io::Result<KernelFile> {
        check_name(name)?;
        let path = self.path.join(name);
        let is_new = !path.try_exists()?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::ResourceBusy.into()),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        if is_new {
            self.handle.sync_all()?;
        }
        Ok(KernelFile(file))
    }

    pub(super) fn rename_file(&self, from: &str, to: &str) -> io::Result<()> {
        check_name(from)?;
        check_name(to)?;
        fs::rename(self.path.join(from), self.path.join(to))?;
        self.handle.sync_all()
    }

    pub(super) fn remove_file(&self, name: &str) -> io::Result<()> {
        check_name(name)?;
        fs::remove_file(self.path.join(name))?;
        self.handle.sync_all()
    }
}

impl DurableFile for KernelFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(into, offset)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}
