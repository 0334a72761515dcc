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

    /// Memory of this process that is there, in bytes.
    #[cfg(target_os = "linux")]
    fn resident() -> usize {
        let pages = std::fs::read_to_string("/proc/self/statm").expect("Linux tells");
        let pages = pages.split(' ').nth(1).expect("the second figure is it");
        pages.parse::<usize>().expect("a number") * 4_096
    }

    #[test]
    fn it_is_zero_and_keeps_what_is_written() {
        let mut memory = Memory::zeroed(131_072);
        assert!(memory.iter().all(|byte| *byte == 0));
        memory[65_535..65_538].copy_from_slice(b"abc");
        assert_eq!(&memory[65_534..65_539], b"\0abc\0");
    }

    /// 256 MB are asked for and 8 written to; other tests of this process may take their own meanwhile.
    #[cfg(target_os = "linux")]
    #[test]
    fn what_is_not_written_to_is_no_memory() {
        let before = resident();
        let mut all: Vec<Memory> = (0..2_000).map(|_| Memory::zeroed(131_072)).collect();
        for memory in &mut all {
            memory[0] = 1;
        }
        let grown = resident().saturating_sub(before);
        assert!(grown < 128 << 20, "{grown} bytes became memory");
        assert!(grown >= 2_000 * 4_096, "each has its first page");
    }
}
