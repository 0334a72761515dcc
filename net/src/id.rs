//! Small numbers that name things inside one revision of the route table.
//!
//! They are indices into its vectors, so that the fast path never compares a string. Names, not numbers,
//! identify a thing across revisions: hashing, randomness and event order use names.

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(pub u16);

        impl $name {
            /// The position in the route table's vector.
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}

id!(
    /// A node: POP, CLB node or backend host.
    NodeId
);
id!(
    /// A region.
    RegionId
);
id!(
    /// A path over the backbone or inside a region.
    PathId
);
id!(
    /// A regional load balancer; at most 15 bits, since it travels in the GRE key.
    ClbId
);

impl NodeId {
    /// A peer whose underlay address no node of the table has. Also "nobody" in a slot without owner.
    pub const UNKNOWN: NodeId = NodeId(u16::MAX);
}

/// A version of the route table: the log index that made it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Revision(pub u64);
