//! How much memory this process has had.

use nix::sys::resource::{UsageWho, getrusage};

/// Bytes of memory that were resident at its most; 0 where the system does not say.
#[must_use]
pub fn peak_bytes() -> u64 {
    let used = getrusage(UsageWho::RUSAGE_SELF);
    // Linux counts in KiB.
    let kib = used.map_or(0, |usage| usage.max_rss());
    u64::try_from(kib).unwrap_or(0) << 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_shows() {
        let before = peak_bytes();
        let written = vec![1_u8; 64 << 20];
        assert!(written.iter().all(|byte| *byte == 1));
        let after = peak_bytes();
        assert!(before > 0 && after >= before && after > 64 << 20);
    }
}
