//! Huge pages for the heap of a long simulation.
//!
//! Packets, connections and tasks of a run are touched once in a round trip and lie in thousands of pages, more than a
//! processor remembers the places of; to look one up it reads tables that have left the cache as well. In pages of 2 MB it
//! remembers them all. So once a run is a long one the kernel is asked to put the heap into such pages, and again each
//! time it is twice as long. Nothing of the run depends on it: what the kernel cannot do it leaves as it is. Nodes are told
//! to have them from their beginning on ([`bundle`](crate::bundle)).
//!
//! References: madvise(2), `MADV_COLLAPSE` (Linux 6.1); malloc(3), whose heaps are these.

use std::ops::Range;

use nix::libc;

/// Packet-hops behind which a run is a long one: about a second. A shorter one would pay more for the copying than it gains.
const LONG: u64 = 1_500_000;
/// Linux 6.1; not every C library's header has it.
const MADV_COLLAPSE: libc::c_int = 25;
const HUGE_PAGE: usize = 2 << 20;
/// No more than so much of the heap, in bytes: what is beyond is mostly silent.
const BYTES_MAX: usize = 64 << 20;
/// Where glibc's heap of a thread begins: at a multiple of this.
const THREAD_HEAP: usize = 64 << 20;

/// Asks for them as a run goes on.
#[derive(Debug)]
pub struct HugePages {
    /// Packet-hops behind which it asks next.
    next: u64,
}

impl HugePages {
    /// For a run that begins.
    pub const fn new() -> HugePages {
        HugePages { next: LONG }
    }

    /// The run has had so many packet-hops.
    pub fn follow(&mut self, packet_hops: u64) {
        if packet_hops < self.next {
            return;
        }
        self.next = packet_hops.saturating_mul(2);
        // Where there is no such file there is no such kernel.
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
        let mut left = BYTES_MAX;
        for heap in maps.lines().filter_map(heap) {
            let len = (heap.end - heap.start).min(left);
            left -= len;
            collapse(heap.start..heap.start + len);
        }
    }
}

impl Default for HugePages {
    fn default() -> Self {
        Self::new()
    }
}

/// The whole huge pages of a heap that a line of /proc/self/maps tells of: the process's, or a thread's (proc_pid_maps(5)).
fn heap(line: &str) -> Option<Range<usize>> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    let is_memory = fields.next()?.starts_with("rw-p");
    let is_heap = match fields.nth(3) {
        Some(name) => name == "[heap]",
        None => start % THREAD_HEAP == 0,
    };
    let whole = start.checked_next_multiple_of(HUGE_PAGE)?..end / HUGE_PAGE * HUGE_PAGE;
    (is_memory && is_heap && !whole.is_empty()).then_some(whole)
}

#[expect(unsafe_code, reason = "no safe crate makes this call")]
fn collapse(range: Range<usize>) {
    let start = std::ptr::with_exposed_provenance_mut(range.start);
    // SAFETY: it changes in which pages memory lies, and neither a byte of it nor where it is found. What is not mapped any
    // more is refused.
    unsafe { libc::madvise(start, range.len(), MADV_COLLAPSE) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heaps_are_found_in_whole_huge_pages() {
        let of_process =
            "55d0c81ff000-55d0c8a00000 rw-p 00000000 00:00 0                          [heap]";
        assert_eq!(heap(of_process), Some(0x55d0_c820_0000..0x55d0_c8a0_0000));
        let of_thread = "7f2a64000000-7f2a64721000 rw-p 00000000 00:00 0 ";
        assert_eq!(heap(of_thread), Some(0x7f2a_6400_0000..0x7f2a_6460_0000));
        for other in [
            "",
            "none",
            "7f2a64721000-7f2a68000000 ---p 00000000 00:00 0 ",
            "7f2a63200000-7f2a63a00000 rw-p 00000000 00:00 0 ",
            "55d0c81ff000-55d0c8210000 rw-p 00000000 00:00 0                          [heap]",
            "7f2a64000000-7f2a64721000 rw-p 00000000 fe:00 12   /lib/a file",
            "7ffc8e000000-7ffc8e400000 rw-p 00000000 00:00 0                          [stack]",
            "7f2a64000000-7f2a63000000 rw-p 00000000 00:00 0 ",
            "ffffffffffffffff-ffffffffffffffff rw-p 00000000 00:00 0 [heap]",
        ] {
            assert_eq!(heap(other), None, "{other}");
        }
    }

    #[test]
    fn it_asks_when_a_run_is_long_and_each_time_it_is_twice_as_long() {
        let mut pages = HugePages::new();
        let asks = [0, LONG - 1, LONG, LONG + 1, 2 * LONG].map(|packet_hops| {
            let before = pages.next;
            pages.follow(packet_hops);
            pages.next != before
        });
        assert_eq!(asks, [false, false, true, false, true]);
    }
}
