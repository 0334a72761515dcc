//! Why a packet ended without being delivered: one closed list, counted everywhere it can happen.
//!
//! A packet never gives an `Err`. It gives one of these, exactly once, and the sum over all reasons is
//! the number of packets lost; reports and tests assert it.

macro_rules! drop_reasons {
    ($($(#[$doc:meta])* $name:ident => $text:literal,)*) => {
        /// Why a packet was dropped.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum DropReason {
            $($(#[$doc])* $name,)*
        }

        impl DropReason {
            /// All reasons, in the order of their declaration.
            pub const ALL: &'static [DropReason] = &[$(DropReason::$name,)*];

            /// The reason's name in reports and JSON.
            pub const fn name(self) -> &'static str {
                match self {
                    $(DropReason::$name => $text,)*
                }
            }
        }
    };
}

drop_reasons! {
    // What the packet itself was.
    /// Headers that do not parse or whose checksum is wrong.
    Malformed => "Malformed",
    /// A fragment, which no forwarder reassembles.
    Fragment => "Fragment",
    /// Neither TCP nor UDP.
    UnsupportedProtocol => "UnsupportedProtocol",
    /// TTL or hop limit used up (RFC 1812 §5.3.1, RFC 8200 §3).
    TtlExpired => "TtlExpired",
    /// Larger than the tunnel's inner MTU.
    TooBig => "TooBig",
    /// Arrived on a port whose kind the node does not take packets from.
    WrongPort => "WrongPort",

    // Tunnels.
    /// A GRE header that is malformed or asks for what we do not speak.
    BadGre => "BadGre",
    /// The outer source is no node that may send here.
    UnknownPeer => "UnknownPeer",
    /// The GRE key names a load balancer that this node does not serve.
    UnknownClb => "UnknownClb",
    /// Outer CE over an inner packet that is not ECN-capable (RFC 6040 §4.2).
    EcnConflict => "EcnConflict",
    /// No live path to the next node.
    NoPath => "NoPath",
    /// No room in front for another header.
    NoHeadroom => "NoHeadroom",

    // POP.
    /// The destination is no VIP of this node.
    NotVip => "NotVip",
    /// A packet towards a client whose source is no VIP.
    NotFromVip => "NotFromVip",
    /// The flow's slot has no CLB node.
    NoSlotOwner => "NoSlotOwner",

    // CLB node and vSwitch.
    /// No listener on this protocol and port.
    NoListener => "NoListener",
    /// No target may take a new flow.
    NoTarget => "NoTarget",
    /// A packet that opens no flow and belongs to none.
    NoFlow => "NoFlow",
    /// Another flow already uses this tuple at the backend.
    TupleTaken => "TupleTaken",
    /// The connection table is full.
    TableFull => "TableFull",
    /// The listener has as many flows as it may have.
    ConnectionsMax => "ConnectionsMax",
    /// The listener opened as many flows within this second as it may.
    PerSecondMax => "PerSecondMax",

    /// A target's answer to a health check, taken in.
    HealthCheck => "HealthCheck",
    /// A probe of a path, taken in.
    Probe => "Probe",
    /// Flow entries of another CLB node, taken in.
    Entries => "Entries",
    /// The client must prove its address first.
    SynGate => "SynGate",
    /// A fragment that overlaps another (RFC 5722 §4), or one too many.
    FragmentRefused => "FragmentRefused",
    /// A fragment whose first part did not come in time.
    FragmentTimeout => "FragmentTimeout",
    /// The flow's target was unbound.
    Unbound => "Unbound",

    // Security groups.
    /// The backend's security groups do not accept it.
    TargetSecurityGroup => "TargetSecurityGroup",
    /// The load balancer's security groups do not accept it.
    ClbSecurityGroup => "ClbSecurityGroup",
    /// The security groups of its sender do not let it out.
    ClientSecurityGroup => "ClientSecurityGroup",

    // Links and hosts.
    /// Lost on the wire.
    LinkLoss => "LinkLoss",
    /// The link's queue was full.
    QueueFull => "QueueFull",
    /// Larger than the link's MTU.
    LinkMtu => "LinkMtu",
    /// The POP was down.
    PopDown => "PopDown",
    /// The link was down, or went down while the packet was on it.
    LinkDown => "LinkDown",
    /// The CLB node was down.
    ClbNodeDown => "ClbNodeDown",
    /// The whole region was down.
    RegionDown => "RegionDown",
    /// The backend's machine was down.
    HostDown => "HostDown",
    /// Nothing is attached that this packet could go to.
    NoRoute => "NoRoute",
    /// A host got a packet that is not for it or that no socket wants.
    NotForHost => "NotForHost",
    /// A checksum told a host that the packet was damaged on its way.
    BadChecksum => "BadChecksum",
    /// A host's socket had no room for it.
    SocketFull => "SocketFull",
    /// The run ended while the packet was on its way.
    RunEnded => "RunEnded",
    /// No packet slot was free.
    PoolEmpty => "PoolEmpty",
    /// The kernel refused to send it.
    SendFailed => "SendFailed",

    // ICMP.
    /// An echo request above what the node answers in a second.
    EchoLimited => "EchoLimited",

    // Tunnels that are streams.
    /// The oldest of a stream's full queue, which made room.
    StreamFull => "StreamFull",
    /// Waited longer for its stream than anybody waits for it.
    StreamLate => "StreamLate",
    /// Was in a stream whose connection was lost, or in one when the run ended.
    StreamLost => "StreamLost",

    // The management network.
    /// The controller was down.
    ControllerDown => "ControllerDown",
    /// A partition was between sender and receiver.
    Partition => "Partition",

    // Passive checks.
    /// A target's refusal, which its client does not hear of: it is to try another.
    TargetRefused => "TargetRefused",
    /// No port is free that the packet's flow could come from at its target (SNAT).
    SnatPorts => "SnatPorts",
    /// It cannot be a packet of the other IP version (NAT64).
    Untranslatable => "Untranslatable",

    // Who may be a client.
    /// From a private IPv6 address, from which an IPv6 load balancer is not reached.
    PrivateClient => "PrivateClient",
}

/// How many packets each reason took.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DropCounts {
    total: u64,
    by_reason: [u64; DropReason::ALL.len()],
}

impl Default for DropCounts {
    fn default() -> DropCounts {
        DropCounts {
            total: 0,
            by_reason: [0; DropReason::ALL.len()],
        }
    }
}

impl DropCounts {
    /// Counts one packet.
    pub fn add(&mut self, reason: DropReason) {
        self.add_many(reason, 1);
    }

    /// Counts several packets.
    pub fn add_many(&mut self, reason: DropReason, packets: u64) {
        self.by_reason[reason as usize] += packets;
        self.total += packets;
    }

    /// Packets taken by `reason`.
    pub const fn of(&self, reason: DropReason) -> u64 {
        self.by_reason[reason as usize]
    }

    /// Packets taken by any reason.
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// Adds another's counts, of which most have none.
    pub fn merge(&mut self, other: &DropCounts) {
        if other.total == 0 {
            return;
        }
        for (mine, theirs) in self.by_reason.iter_mut().zip(&other.by_reason) {
            *mine += theirs;
        }
        self.total += other.total;
    }

    /// The reasons that took at least one packet.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL
            .iter()
            .map(|reason| (*reason, self.of(*reason)))
            .filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up_by_reason() {
        let mut counts = DropCounts::default();
        counts.add(DropReason::NoFlow);
        counts.add(DropReason::NoFlow);
        counts.add(DropReason::TooBig);
        let mut sum = counts.clone();
        sum.merge(&counts);
        assert_eq!(sum.total(), 6);
        assert_eq!(
            counts.iter().collect::<Vec<_>>(),
            [(DropReason::TooBig, 1), (DropReason::NoFlow, 2)]
        );
    }
}
