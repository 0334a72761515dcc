//! A disk in memory that keeps everything, and does as it is told: it fills, and its syncs fail. Tests and fuzz targets use it,
//! by its path; who takes it in has [`Files`] and [`LOG_NAME`] in scope.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex};

use anyedge_net::host::DurableFile;

use super::{Files, LOG_NAME};

pub(crate) type Content = Arc<Mutex<Vec<u8>>>;

/// The disk. Clones are the same one.
#[derive(Clone, Default, Debug)]
pub(crate) struct Shelf {
    files: Arc<Mutex<BTreeMap<String, Content>>>,
    limits: Arc<Mutex<Limits>>,
}

#[derive(Clone, Copy, Default, Debug)]
struct Limits {
    bytes_max: Option<usize>,
    syncs_fail: bool,
}

/// A file of it.
#[derive(Debug)]
pub(crate) struct Paper(Content, Shelf);

impl Shelf {
    /// The bytes of its log, to be read or changed.
    pub(crate) fn log(&self) -> Content {
        Arc::clone(&self.files.lock().expect("one thread")[LOG_NAME])
    }

    /// So many bytes a file may have from here on.
    pub(crate) fn has_room_for(&self, bytes_max: Option<usize>) {
        self.limits.lock().expect("one thread").bytes_max = bytes_max;
    }

    /// Whether syncs fail from here on.
    pub(crate) fn fails_syncs(&self, syncs_fail: bool) {
        self.limits.lock().expect("one thread").syncs_fail = syncs_fail;
    }

    fn limits(&self) -> Limits {
        *self.limits.lock().expect("one thread")
    }
}

impl Files for Shelf {
    type File = Paper;

    fn open_file(&self, name: &str) -> io::Result<Paper> {
        let mut files = self.files.lock().expect("one thread");
        let content = files.entry(name.to_owned()).or_default();
        Ok(Paper(Arc::clone(content), self.clone()))
    }

    fn rename_file(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.files.lock().expect("one thread");
        let content = files.remove(from).ok_or(ErrorKind::NotFound)?;
        files.insert(to.to_owned(), content);
        Ok(())
    }
}

impl DurableFile for Paper {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().expect("one thread").len() as u64)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let content = self.0.lock().expect("one thread");
        let start = offset as usize;
        let bytes = content.get(start..start + into.len());
        into.copy_from_slice(bytes.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let (start, end) = (offset as usize, offset as usize + bytes.len());
        if self.1.limits().bytes_max.is_some_and(|most| end > most) {
            return Err(ErrorKind::StorageFull.into());
        }
        let mut content = self.0.lock().expect("one thread");
        let len = content.len().max(end);
        content.resize(len, 0);
        content[start..end].copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.lock().expect("one thread").resize(len as usize, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        if self.1.limits().syncs_fail {
            return Err(io::Error::other("the disk has failed"));
        }
        Ok(())
    }
}
