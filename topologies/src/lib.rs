//! Reads, validates and explains topology files.
//!
//! A topology describes POPs, the backbone, regions with their load balancers, backends, clients, faults and
//! the service levels to keep. [`Topology::load`] gives either the whole of it, checked and with every
//! default filled in, or every mistake at once, each with its line and column and what would be right.
//!
//! Figures are integers in the units of their names; names are as in the file, without their kind.

mod addresses;
mod autoscaling;
mod bgp;
mod book;
mod cities;
mod clb;
mod client;
mod controller;
mod convergence;
mod defaults;
mod diagnostic;
mod drawn;
mod eni;
mod fault;
pub mod format;
pub mod gml;
mod health;
mod host;
mod include;
mod line;
mod link;
pub mod lint;
mod load;
mod loss;
mod management;
mod matrix;
mod names;
mod nearest;
mod overrides;
mod place;
mod pop;
mod question;
mod reader;
mod region;
pub mod schema;
mod security_group;
mod slo;
mod snat;
mod source_told;

mod syntax;
mod table;
mod targets;
mod topology;
pub mod units;
mod vip;

pub use addresses::AddressPair;
pub use anyedge_net::link::{GilbertElliott, Loss};
pub use autoscaling::AutoScaling;
pub use bgp::{Bfd, Bgp, Router};
pub use clb::{Clb, Listener, Protocol, ReturnBy, Scheduler};
pub use client::{Client, Family};
pub use controller::{Controller, LEADER};
pub use convergence::{Convergence, Spread, SpreadPoint};
pub use defaults::{Defaults, Encap, Routes, Start, TcpStack, Underlay};
pub use diagnostic::{Diagnostic, Wrong};
pub use drawn::{Drawn, Shape};
pub use eni::Eni;
pub use fault::{Autoscale, ClockFault, Degrade, DiskFault, Fault, FaultVerb, Partition};
pub use host::Host;
pub use line::Line;
pub use link::{Link, LinkEnds};
pub use load::{Arrivals, Bursts, Load, LoadKind};
pub use management::{Managed, OPERATOR, Spot, Ways};
pub use names::Kind;
pub use nearest::did_you_mean;
pub use place::{Coordinates, Place};
pub use pop::Pop;
pub use question::{Question, SOURCE_PORT};
pub use region::{ClbNode, Region};
pub use security_group::{EgressPort, SecurityGroup};
pub use slo::{Comparison, Expectation, Metric, Slo, SloOf, SloWindow, TargetOf, Threshold};

pub use table::author;
pub use targets::{Server, Service, Targets};
pub use topology::{SCHEMA, Topology};
pub use vip::{Vip, VipPrefix};
