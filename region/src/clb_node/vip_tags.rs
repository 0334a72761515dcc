//! Tags of VIPs: how entries name the VIP of a flow in 4 bytes, whatever its family.
//!
//! A tag is 32 bits of a hash of the address, so it means the same under every revision. A node knows the tags of
//! the VIPs that its region serves. A tag that two of them share means neither: entries of theirs are ignored, and
//! their flows live on one node alone. A VIP that only the sender has is taken for another one with a chance of
//! one in 2^32 for each VIP.

use anyedge_net::flow::{Address, Family, HashKey};

/// A VIP's tag.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct VipTag(pub(super) u32);

impl VipTag {
    /// The tag of a VIP.
    pub(super) fn of(vip: &Address) -> VipTag {
        // VIPs are no secret, so the key is none.
        const KEY: HashKey = HashKey::new([0; 16]);
        VipTag(KEY.hash_bytes(vip.octets()) as u32)
    }
}

/// The tags of the VIPs of a region.
#[derive(Default)]
pub(super) struct VipTags {
    /// By tag, without those that two VIPs share.
    vips: Vec<(VipTag, Address)>,
}

impl VipTags {
    /// The tags of `vips`, each of which is given once.
    pub(super) fn of(vips: impl Iterator<Item = Address>) -> VipTags {
        VipTags::of_tagged(vips.map(|vip| (VipTag::of(&vip), vip)).collect())
    }

    fn of_tagged(mut all: Vec<(VipTag, Address)>) -> VipTags {
        all.sort_by_key(|(tag, _)| *tag);
        let alone = all.chunk_by(|(one, _), (other, _)| one == other);
        let vips = alone.filter(|run| run.len() == 1).flatten().copied();
        VipTags {
            vips: vips.collect(),
        }
    }

    /// The VIP of a tag, of that family; `None` for one that no VIP has alone.
    pub(super) fn vip(&self, tag: VipTag, family: Family) -> Option<Address> {
        let at = self.vips.binary_search_by_key(&tag, |(tag, _)| *tag).ok()?;
        let (_, vip) = self.vips[at];
        (vip.family() == family).then_some(vip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Address = Address::v4([203, 0, 113, 1]);
    const OTHER: Address = Address::v4([203, 0, 113, 2]);

    #[test]
    fn a_tag_means_its_vip_in_its_family_and_nothing_else() {
        let wide = Address::v6([0x20; 16]);
        let tags = VipTags::of([OTHER, wide, ONE].into_iter());
        for vip in [ONE, OTHER, wide] {
            assert_eq!(tags.vip(VipTag::of(&vip), vip.family()), Some(vip));
        }
        assert_eq!(tags.vip(VipTag::of(&ONE), Family::V6), None);
        assert_eq!(tags.vip(VipTag::of(&wide), Family::V4), None);
        let stranger = Address::v4([203, 0, 113, 3]);
        assert_eq!(tags.vip(VipTag::of(&stranger), Family::V4), None);
    }

    #[test]
    fn a_tag_that_two_vips_share_means_neither() {
        let third = Address::v4([203, 0, 113, 3]);
        let shared = VipTag(7);
        let tags = VipTags::of_tagged(vec![(shared, ONE), (VipTag(8), third), (shared, OTHER)]);
        assert_eq!(tags.vip(shared, Family::V4), None);
        assert_eq!(tags.vip(VipTag(8), Family::V4), Some(third));
    }
}
