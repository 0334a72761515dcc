//! The measured data beside the checkout, for tests that compare with it. Absent, they are skipped loudly.

use std::path::PathBuf;

use crate::binary::root;

/// The data's folder: `ANYEDGE_DATA`, else `../shared/data` from the workspace. `None`, and a word about it on
/// stderr, when there is none.
#[expect(clippy::print_stderr, reason = "a skipped test must be heard")]
pub fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("ANYEDGE_DATA")
        .map_or_else(|| root().join("../shared/data"), PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!(
        "SKIPPED: no data in {} (set ANYEDGE_DATA)",
        folder.display()
    );
    None
}
