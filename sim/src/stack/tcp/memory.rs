//! Memory of a connection's buffers: zeroed, and taken from the machine page by page as it is written to.
//!
//! An allocator that clears what it hands out writes to all of it, and a connection that is silent holds as much as one at
//! full speed. Pages that the kernel maps are zero without being there. Neighbouring mappings are one to the kernel, so
//! their number stays below its limit; where it gives none, the allocator does.

use std::ops::{Deref, DerefMut};

use memmap2::MmapMut;

/// So many bytes, all zero at first.
pub(super) enum Memory {
    Mapped(MmapMut),
    Allocated(Vec<u8>),
}

impl Memory {
    pub(super) fn zeroed(len: usize) -> Memory {
        match MmapMut::map_anon(len) {
            Ok(mapped) => {
                // A huge page would be there as a whole with the first byte. A kernel without them needs no advice.
                #[cfg(target_os = "linux")]
                let _unknown = mapped.advise(memmap2::Advice::NoHugePage);
                Memory::Mapped(mapped)
            }
            Err(_) => Memory::Allocated(vec![0; len]),
        }
    }
}

impl Deref for Memory {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Memory::Mapped(mapped) => mapped,
            Memory::Allocated(allocated) => allocated,
        }
    }
}

impl DerefMut for Memory {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Memory::Mapped(mapped) => mapped,
            Memory::Allocated(allocated) => allocated,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of it that are in pages of the machine. What the whole process holds would say nothing: other tests of it give
    /// theirs back meanwhile. A machine without the kernel's map of pages has no answer.
    #[cfg(target_os = "linux")]
    fn resident(memory: &Memory) -> Option<usize> {
        use std::os::unix::fs::FileExt;
        let map = std::fs::File::open("/proc/self/pagemap").ok()?;
        let first = memory.as_ptr() as usize / 4_096;
        let mut entries = vec![0; memory.len() / 4_096 * 8];
        map.read_exact_at(&mut entries, first as u64 * 8).ok()?;
        // Bit 63: in memory, bit 62: swapped out (Documentation/admin-guide/mm/pagemap.rst).
        let there = entries.chunks_exact(8).filter(|entry| entry[7] & 0xc0 != 0);
        Some(there.count() * 4_096)
    }

    #[test]
    fn it_is_zero_and_keeps_what_is_written() {
        let mut memory = Memory::zeroed(131_072);
        assert!(memory.iter().all(|byte| *byte == 0));
        memory[65_535..65_538].copy_from_slice(b"abc");
        assert_eq!(&memory[65_534..65_539], b"\0abc\0");
    }

    /// Of 16 MB, in mappings that the kernel may join, the first page of each 128 KB: a huge page would bring the rest.
    #[cfg(target_os = "linux")]
    #[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
    #[test]
    fn what_is_not_written_to_is_no_memory() {
        let mut all: Vec<Memory> = (0..128).map(|_| Memory::zeroed(131_072)).collect();
        let Some(untouched) = resident(&all[0]) else {
            eprintln!("SKIPPED: this machine shows no /proc/self/pagemap");
            return;
        };
        assert_eq!(untouched, 0);
        for memory in &mut all {
            memory[0] = 1;
        }
        for memory in &all {
            assert_eq!(resident(memory), Some(4_096), "its first page alone");
        }
    }
}
