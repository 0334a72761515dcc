//! The objects of the table: what an operator, a topology file or a controller has named.
//!
//! An object is found by its [`Kind`] and its name, and refers to others by name alone. Numbers are wider here
//! than what they may hold, so that a value out of its range can be told and refused where a command is applied,
//! and nowhere else. What is in a table is in range.

pub mod autoscaling;
pub mod balancer;
pub mod ccn;
pub mod ground;
pub mod security;
pub mod settings;

use core::fmt;

pub use autoscaling::{AutoScalingGroup, ScalingServer};
pub use balancer::{
    Clb, ClbType, CrossRegion, InstanceType, IpVersion, Listener, Protocol, Rule, SchedulerKind,
    SnatBlock, SnatIp, Target, TargetKind, Vip,
};
pub use ccn::{Attachment, AttachmentKind, Ccn, CcnRoute, LearnedRoute, Network, Prefix};
pub use ground::{ClbNode, Ends, Eni, Host, HostState, Path, Pop, Region, Underlay};
pub use security::{SecurityGroup, SecurityRule};
pub use settings::{Profile, Quotas, Secret, Settings};

use super::change::Stage;

/// What every object is: one of a kind, with a name.
pub trait Kinded: Sized + 'static {
    /// Its kind.
    const KIND: Kind;
    /// The object as one of this kind.
    fn of(object: &Object) -> Option<&Self>;
    /// Itself as an object.
    fn into_object(self) -> Object;
}

macro_rules! kinds {
    ($($kind:ident = $number:literal, $say:literal;)*) => {
        /// The kinds of objects, in the order in which a snapshot has them.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Kind {
            $(#[doc = concat!("Called a ", $say, ".")] $kind = $number,)*
        }

        /// An object of any kind.
        #[derive(Clone, PartialEq, Eq, Debug)]
        pub enum Object {
            $(#[doc = concat!("A ", $say, ".")] $kind($kind),)*
        }

        impl Kind {
            /// All kinds, in order.
            pub const ALL: &[Kind] = &[$(Kind::$kind),*];

            /// What people call it.
            pub const fn say(self) -> &'static str {
                match self {
                    $(Kind::$kind => $say,)*
                }
            }
        }

        impl Object {
            /// Its kind.
            pub const fn kind(&self) -> Kind {
                match self {
                    $(Object::$kind(_) => Kind::$kind,)*
                }
            }
        }

        $(impl Kinded for $kind {
            const KIND: Kind = Kind::$kind;

            fn of(object: &Object) -> Option<&Self> {
                match object {
                    Object::$kind(it) => Some(it),
                    _ => None,
                }
            }

            fn into_object(self) -> Object {
                Object::$kind(self)
            }
        })*
    };
}

kinds! {
    Settings = 1, "settings";
    Secret = 2, "secret";
    Region = 3, "region";
    Pop = 4, "POP";
    ClbNode = 5, "CLB node";
    Host = 6, "host";
    Eni = 7, "elastic network interface";
    Path = 8, "path";
    Prefix = 9, "prefix";
    Clb = 10, "load balancer";
    Listener = 11, "listener";
    Rule = 12, "rule";
    Target = 13, "target";
    Vip = 14, "VIP";
    SnatIp = 15, "SNAT address";
    SnatBlock = 16, "SNAT block";
    Ccn = 17, "CCN";
    Attachment = 18, "attachment";
    CcnRoute = 19, "CCN route";
    Stage = 20, "stage";
    SecurityGroup = 21, "security group";
    AutoScalingGroup = 22, "auto-scaling group";
}

impl Kind {
    /// Nodes, regions and paths: what load balancers and VIPs stand on.
    pub const fn is_ground(self) -> bool {
        matches!(
            self,
            Kind::Region | Kind::Pop | Kind::ClbNode | Kind::Host | Kind::Path
        )
    }
}

/// Which object.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key {
    /// Of which kind.
    pub kind: Kind,
    /// Its name, unique in its kind.
    pub name: String,
}

impl Key {
    /// The key of an object of that kind and name.
    pub fn new(kind: Kind, name: impl Into<String>) -> Key {
        let name = name.into();
        Key { kind, name }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`", self.kind.say(), self.name)
    }
}

impl Object {
    /// Its name, made of those of what it belongs to and its own.
    pub fn name(&self) -> String {
        match self {
            Object::Settings(_) => Settings::NAME.to_owned(),
            Object::Secret(it) => it.name.clone(),
            Object::Region(it) => it.name.clone(),
            Object::Pop(it) => it.name.clone(),
            Object::ClbNode(it) => it.name.clone(),
            Object::Host(it) => it.name.clone(),
            Object::Eni(it) => it.name.clone(),
            Object::Path(it) => it.name.clone(),
            Object::Prefix(it) => it.name.clone(),
            Object::Clb(it) => it.name.clone(),
            Object::Listener(it) => it.full_name(),
            Object::Rule(it) => it.full_name(),
            Object::Target(it) => it.full_name(),
            Object::Vip(it) => it.name.clone(),
            Object::SnatIp(it) => it.full_name(),
            Object::SnatBlock(it) => it.full_name(),
            Object::Ccn(it) => it.name.clone(),
            Object::Attachment(it) => it.full_name(),
            Object::CcnRoute(it) => it.full_name(),
            Object::Stage(it) => it.name.clone(),
            Object::SecurityGroup(it) => it.name.clone(),
            Object::AutoScalingGroup(it) => it.name.clone(),
        }
    }

    /// Kind and name.
    pub fn key(&self) -> Key {
        Key::new(self.kind(), self.name())
    }

    /// Whether it stays out of listings and clear backups.
    pub const fn is_secret(&self) -> bool {
        matches!(self, Object::Secret(_))
    }
}
