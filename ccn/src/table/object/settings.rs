//! What holds for the whole table, and the secrets that nodes share.

use core::fmt;
use core::ops::RangeInclusive;
use core::time::Duration;

use anyedge_net::route_table::{Announcing, Mechanisms, Probing};

use super::super::SLOT_SETTLE;

/// Whose limits and refusals hold where two readings of the product differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Profile {
    /// Ours: extensions are allowed.
    #[default]
    Default,
    /// The product's own API.
    Tencent,
    /// Another product: rules of security groups have priorities, and of equals the one that drops wins.
    Qingcloud,
    /// A global accelerator's endpoints: weights are 0 to 255.
    Aws,
}

impl Profile {
    /// The weights that a target may have.
    pub const fn weights(self) -> RangeInclusive<u8> {
        match self {
            Profile::Default | Profile::Tencent | Profile::Qingcloud => 0..=100,
            Profile::Aws => 0..=255,
        }
    }

    /// The weight of a target that gives none.
    pub const fn weight_default(self) -> u8 {
        match self {
            Profile::Default | Profile::Tencent | Profile::Qingcloud => 10,
            Profile::Aws => 128,
        }
    }
}

/// How many there may be of what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Quotas {
    /// Listeners of a load balancer.
    pub listeners_per_clb: u32,
    /// Rules of a listener.
    pub rules_per_listener: u32,
    /// Targets of a rule, or of a listener without rules.
    pub targets_per_rule: u32,
    /// Load balancers.
    pub clbs: u32,
    /// SNAT addresses of a load balancer.
    pub snat_ips_per_clb: u32,
    /// Targets in one call.
    pub targets_per_call: u32,
    /// Security groups of a load balancer, or of a host.
    pub security_groups_per_clb: u32,
    /// CCNs.
    pub ccns: u32,
    /// Attachments of a CCN.
    pub attachments_per_ccn: u32,
    /// Rules of a security group.
    pub rules_per_security_group: u32,
}

impl Quotas {
    /// What the product allows, and a message means that does not say.
    pub const RULES_PER_SECURITY_GROUP: u32 = 512;
}

impl Default for Quotas {
    fn default() -> Quotas {
        Quotas {
            listeners_per_clb: 50,
            rules_per_listener: 50,
            targets_per_rule: 100,
            clbs: 100,
            snat_ips_per_clb: 10,
            targets_per_call: 500,
            security_groups_per_clb: 5,
            ccns: 5,
            attachments_per_ccn: 25,
            rules_per_security_group: Quotas::RULES_PER_SECURITY_GROUP,
        }
    }
}

/// What holds for the whole table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Whose limits hold.
    pub profile: Profile,
    /// How many there may be.
    pub quotas: Quotas,
    /// How nodes watch their paths; `None`: they do not.
    pub probing: Option<Probing>,
    /// When POPs announce.
    pub announcing: Announcing,
    /// How long a slot stays after a move.
    pub slot_settle: Duration,
    /// A port once in a load balancer, whatever its protocol.
    pub strict_ports: bool,
    /// What of the forwarders' mechanisms is on.
    pub mechanisms: Mechanisms,
    /// Regions that may have an IPv6 load balancer; empty: all.
    pub ipv6_regions: Vec<String>,
    /// Regions whose load balancers may have targets on premises; empty: all.
    pub hybrid_regions: Vec<String>,
    /// Flows that are there end when security groups no longer accept them.
    pub sg_flush_on_change: bool,
    /// Features in closed beta that are not approved, of [`Settings::BETAS`]; by default all are.
    pub betas_off: Vec<String>,
}

impl Settings {
    /// The name of the only one.
    pub const NAME: &'static str = "table";
    /// VIPs that several POPs announce, in front of a load balancer.
    pub const ANYCAST: &'static str = "anycast";
    /// Targets outside a load balancer's network, over the CCN.
    pub const CROSS_REGION_2: &'static str = "cross-region-2.0";
    /// Features in closed beta, which need an approval.
    pub const BETAS: [&'static str; 2] = [Settings::ANYCAST, Settings::CROSS_REGION_2];
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            profile: Profile::Default,
            quotas: Quotas::default(),
            probing: None,
            announcing: Announcing::default(),
            slot_settle: SLOT_SETTLE,
            strict_ports: false,
            mechanisms: Mechanisms::ALL,
            ipv6_regions: Vec::new(),
            hybrid_regions: Vec::new(),
            sg_flush_on_change: false,
            betas_off: Vec::new(),
        }
    }
}

/// A key that all nodes share. Its bytes never show in `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    /// What it is for.
    pub name: String,
    /// 16 to 64 bytes.
    pub value: Vec<u8>,
}

impl Secret {
    /// The key of the hash that gives a flow its slot: 16 bytes.
    pub const SLOT_HASH_KEY: &'static str = "slot-hash-key";
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({}, ..)", self.name)
    }
}
