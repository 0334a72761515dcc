//! A file of a host that outlives its crashes: what was synced is there afterwards, word for word.
//!
//! What was not synced may be there, in part, or not at all: any sector of it by itself, and the length too.
//! Calls block the thread for as long as the disk takes, so services make them inside
//! [`run_blocking`](super::Host::run_blocking). A file has no cursor: every call says where.
//!
//! Names lie in one flat folder of the host's own. Making, renaming and removing a file is durable when the
//! call returns; what the file holds is not before [`sync`](DurableFile::sync).

use core::convert::Infallible;
use core::fmt::Debug;
use std::io;

/// Bytes of a name at most.
pub const NAME_BYTES_MAX: usize = 100;

/// An open file of a [`Host`](super::Host). Dropping it closes it; a file is open at most once at a time.
pub trait DurableFile: Debug + Send + Sync + 'static {
    /// Its length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether it has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `into` from `offset` on; `UnexpectedEof` when the file ends before.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`; what lies between the old end and `offset` reads as zeros.
    /// `StorageFull` when the disk has no room.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts the file, or lengthens it with zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Returns when all that was written, and the length, will outlive a crash.
    fn sync(&self) -> io::Result<()>;
}

/// Whether a file may have this name: letters, digits, `.`, `-` and `_`, not a dot first, and not too many.
///
/// # Errors
/// `InvalidInput` when it may not.
pub fn check_name(name: &str) -> io::Result<()> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    let fits = (1..=NAME_BYTES_MAX).contains(&name.len());
    if fits && !name.starts_with('.') && name.bytes().all(is_plain) {
        return Ok(());
    }
    let why = format!("{name:?} is no name for a file");
    Err(io::Error::new(io::ErrorKind::InvalidInput, why))
}

/// The file of a host without a disk: there is none.
impl DurableFile for Infallible {
    fn len(&self) -> io::Result<u64> {
        match *self {}
    }

    fn read_at(&self, _: u64, _: &mut [u8]) -> io::Result<()> {
        match *self {}
    }

    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
        match *self {}
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        match *self {}
    }

    fn sync(&self) -> io::Result<()> {
        match *self {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_and_leave_the_folder_nowhere() {
        for good in ["raft.redb", "a", "CA-cert_1.pem"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        for bad in ["", ".", "..", ".hidden", "a/b", "a\\b", "a b", "ä", &long] {
            let kind = check_name(bad).map_err(|error| error.kind());
            assert_eq!(kind, Err(io::ErrorKind::InvalidInput), "{bad}");
        }
    }
}
