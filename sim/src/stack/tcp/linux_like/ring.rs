//! A ring of bytes in memory that a connection owns: what is to be sent, or what came and is not read.
//!
//! One that becomes empty begins anew at its front, so that a connection of small exchanges touches few pages.

/// The part of the memory that is the ring's, and what of it is in use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ring {
    from: usize,
    capacity: usize,
    start: usize,
    len: usize,
}

impl Ring {
    /// A ring of `capacity` bytes that begins `from` bytes into the memory.
    pub(super) const fn new(from: usize, capacity: usize) -> Ring {
        Ring {
            from,
            capacity,
            start: 0,
            len: 0,
        }
    }

    #[inline]
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(super) const fn capacity(&self) -> usize {
        self.capacity
    }

    #[inline]
    pub(super) const fn room(&self) -> usize {
        self.capacity - self.len
    }

    pub(super) const fn clear(&mut self) {
        self.start = 0;
        self.len = 0;
    }

    /// Where `count` bytes that begin `at` bytes behind the first lie: in two pieces when the ring's end is between.
    #[inline]
    fn pieces(&self, at: usize, count: usize) -> (usize, usize, usize) {
        let mut first = self.start + at;
        if first >= self.capacity {
            first -= self.capacity;
        }
        let straight = count.min(self.capacity - first);
        (self.from + first, straight, count - straight)
    }

    /// Writes `data` so many bytes behind the first, where it does not count yet.
    ///
    /// # Panics
    /// If the ring ends before.
    #[inline]
    pub(super) fn put(&self, memory: &mut [u8], at: usize, data: &[u8]) {
        assert!(at + data.len() <= self.capacity, "the ring has that room");
        let (first, straight, rest) = self.pieces(at, data.len());
        memory[first..first + straight].copy_from_slice(&data[..straight]);
        if rest > 0 {
            memory[self.from..self.from + rest].copy_from_slice(&data[straight..]);
        }
    }

    /// Counts bytes that were put behind the last.
    #[inline]
    pub(super) fn extend(&mut self, count: usize) {
        self.len += count;
        assert!(self.len <= self.capacity, "what counts has its room");
    }

    /// Takes in as much of `data` as there is room for.
    #[inline]
    pub(super) fn push(&mut self, memory: &mut [u8], data: &[u8]) -> usize {
        let count = data.len().min(self.room());
        self.put(memory, self.len, &data[..count]);
        self.extend(count);
        count
    }

    /// Copies out what lies so many bytes behind the first.
    ///
    /// # Panics
    /// If less than that is there.
    #[inline]
    pub(super) fn peek(&self, memory: &[u8], at: usize, into: &mut [u8]) {
        assert!(at + into.len() <= self.len, "as much is there");
        let (first, straight, rest) = self.pieces(at, into.len());
        into[..straight].copy_from_slice(&memory[first..first + straight]);
        if rest > 0 {
            into[straight..].copy_from_slice(&memory[self.from..self.from + rest]);
        }
    }

    /// Drops the first `count` bytes.
    #[inline]
    pub(super) const fn pop(&mut self, count: usize) {
        self.len -= count;
        self.start += count;
        if self.start >= self.capacity {
            self.start -= self.capacity;
        }
    }

    /// Begins anew at the front: of an empty ring behind which nothing was put.
    #[inline]
    pub(super) const fn rewind(&mut self) {
        if self.len == 0 {
            self.start = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_as_they_went_in_wherever_the_ring_begins() {
        let mut memory = [0; 12];
        let mut ring = Ring::new(2, 8);
        for first in 0..50_u8 {
            let data: Vec<u8> = (0..5).map(|at| first.wrapping_add(at)).collect();
            assert_eq!(ring.push(&mut memory, &data), 5);
            assert_eq!(
                ring.push(&mut memory, &[0xfe; 9]),
                3,
                "so much room was left"
            );
            let mut out = [0; 4];
            ring.peek(&memory, 1, &mut out);
            assert_eq!(out, data[1..]);
            ring.pop(8);
        }
        assert_eq!((&memory[..2], &memory[10..]), (&[0, 0][..], &[0, 0][..]));
    }

    #[test]
    fn what_is_put_counts_when_it_is_told() {
        let mut memory = [0; 8];
        let mut ring = Ring::new(0, 8);
        ring.put(&mut memory, 2, b"cd");
        ring.put(&mut memory, 0, b"ab");
        assert_eq!((ring.len(), ring.room()), (0, 8));
        ring.extend(4);
        let mut out = [0; 4];
        ring.peek(&memory, 0, &mut out);
        assert_eq!(&out, b"abcd");
        ring.pop(4);
        ring.rewind();
        assert_eq!(ring.push(&mut memory, b"x"), 1);
        assert_eq!(memory[0], b'x');
    }
}
