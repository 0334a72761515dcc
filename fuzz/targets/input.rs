//! What a fuzzer gives, cut into parts: the first bytes are choices, the rest is what is read.
//!
//! Reading beyond the end gives zeros and empty slices, so every input means something and short ones are cheap.

/// Bytes that have not been taken yet.
#[derive(Clone, Copy)]
pub(crate) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Input<'a> {
        Input(bytes)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.take::<1>()[0]
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.take())
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.take())
    }

    /// The next `N` bytes, with zeros for those that are not there.
    pub(crate) fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut taken = [0; N];
        let slice = self.slice(N);
        taken[..slice.len()].copy_from_slice(slice);
        taken
    }

    /// The next `len` bytes, or those that are left.
    pub(crate) fn slice(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// As many bytes as the next two say.
    pub(crate) fn counted(&mut self) -> &'a [u8] {
        let len = usize::from(self.u16());
        self.slice(len)
    }

    /// All that is left.
    pub(crate) const fn rest(self) -> &'a [u8] {
        self.0
    }
}
