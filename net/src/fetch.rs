//! Memory that is asked for before it is needed, so that it comes while something else is done.
//!
//! Nothing is read by it and nothing depends on it: where a processor does not know how, it does nothing.

use core::fmt;

use prefetch_index::prefetch_index;

/// Bytes that come together.
const CACHE_LINE: usize = 64;

/// Has `value` brought to the processor, itself and not what it points at, without waiting for it.
#[inline]
pub fn fetch<T: ?Sized>(value: &T) {
    fetch_at(address_of(value), size_of_val(value));
}

/// Where a value begins of which `LEN` bytes are to be fetched later. It keeps nobody from moving or ending the value: what
/// is fetched then is of no use, and does no harm.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Place<const LEN: usize>(usize);

impl<const LEN: usize> Place<LEN> {
    /// Where `value` begins.
    #[inline]
    pub fn of<T: ?Sized>(value: &T) -> Self {
        Place(address_of(value))
    }

    /// Has so many bytes from there on brought to the processor, without waiting for them.
    #[inline]
    pub fn fetch(self) {
        fetch_at(self.0, LEN);
    }
}

impl<const LEN: usize> fmt::Debug for Place<LEN> {
    /// Without the address, which is another in each process.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place of {LEN} bytes")
    }
}

#[inline]
fn address_of<T: ?Sized>(value: &T) -> usize {
    core::ptr::from_ref(value).addr()
}

#[inline]
fn fetch_at(address: usize, len: usize) {
    // An address is asked for as that of an element of some slice, which need not have it.
    let nowhere: &[u8] = &[];
    let first = address.wrapping_sub(nowhere.as_ptr().addr());
    for at in (0..len).step_by(CACHE_LINE) {
        prefetch_index(nowhere, first.wrapping_add(at));
    }
    // What does not begin with a line may end in one more.
    if len > 0 {
        prefetch_index(nowhere, first.wrapping_add(len - 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_value_and_not_what_it_points_at() {
        let boxed = Box::new([7u8; 200]);
        assert_ne!(Place::<64>::of(&boxed), Place::of(&*boxed));
        assert_eq!(Place::<64>::of(&*boxed), Place::of(&boxed[..]));
        assert_ne!(Place::<64>::of(&boxed[1..]), Place::of(&boxed[..]));
    }

    #[test]
    fn what_is_gone_empty_or_nowhere_may_be_fetched() {
        Place::<8_000>::of(&*Box::new([0u64; 1_000])).fetch();
        Place::<1_000>(0).fetch();
        Place::<1_000>(usize::MAX).fetch();
        fetch::<[u64]>(&[]);
        let here = [1u8, 2, 3];
        fetch(&here);
        assert_eq!(here, [1, 2, 3]);
    }
}
