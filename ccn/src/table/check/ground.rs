//! Nodes, interfaces, paths and prefixes, and all that stands on them.
//!
//! Every end of a path exists, is of the right kind, and has a tunnel address of the path's family. A tunnel
//! address says who sent a packet, so it has one owner.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};

use anyedge_net::flow::Family;

use super::super::object::{
    Clb, ClbNode, Ends, Eni, Host, Key, Kind, Path, Pop, Prefix, Region, Target, Underlay, Vip,
};
use super::super::refusal::{Reason, Refusal};
use super::super::transaction::Transaction;
use super::super::{
    INNER_MTU_MIN_V4, NODES_MAX, PATHS_MAX, REGIONS_MAX, WEIGHT_MAX, unknown, unknown_region,
};
use super::names::check_name;

impl Transaction<'_> {
    /// All that stands on nodes and paths.
    pub(in super::super) fn check_ground(&self) -> Result<(), Refusal> {
        let nodes = [Kind::Pop, Kind::ClbNode, Kind::Host];
        let nodes = nodes.map(|kind| self.objects.count(kind)).iter().sum();
        check_most("node", nodes, NODES_MAX)?;
        check_most("region", self.objects.count(Kind::Region), REGIONS_MAX)?;
        check_most("path", self.objects.count(Kind::Path), PATHS_MAX)?;
        self.check_underlays()?;
        let nodes = &mut self.objects.all::<ClbNode>();
        nodes.try_for_each(|node| self.check_clb_node(node))?;
        self.objects
            .all::<Host>()
            .try_for_each(|host| self.check_host(host))?;
        self.objects
            .all::<Path>()
            .try_for_each(|path| self.check_path(path))?;
        self.objects
            .all::<Clb>()
            .try_for_each(|clb| self.check_clb_region(clb))?;
        let targets = &mut self.objects.all::<Target>();
        targets.try_for_each(|target| self.check_target(target))?;
        self.objects
            .all::<Vip>()
            .try_for_each(|vip| self.check_vip(vip))
    }

    /// A tunnel address says who sent a packet, so it has one owner, and so has a node's name.
    fn check_underlays(&self) -> Result<(), Refusal> {
        let pops = self
            .objects
            .all::<Pop>()
            .map(|pop| (&pop.name, pop.underlay));
        let nodes = self.objects.all::<ClbNode>();
        let nodes = nodes.map(|node| (&node.name, node.underlay));
        let hosts = self
            .objects
            .all::<Host>()
            .map(|host| (&host.name, host.underlay));
        let mut owners: BTreeMap<IpAddr, &str> = BTreeMap::new();
        let mut names = BTreeSet::new();
        for (name, Underlay { v4, v6 }) in pops.chain(nodes).chain(hosts) {
            if !names.insert(name) {
                return Err(Reason::Duplicate.because(format_args!("node `{name}` is there twice")));
            }
            for address in [IpAddr::V4(v4), IpAddr::V6(v6)] {
                if !address.is_unspecified()
                    && let Some(owner) = owners.insert(address, name)
                {
                    return Err(Reason::Duplicate.because(format_args!(
                        "tunnel address {address} of node `{name}` is there twice: `{owner}` has it"
                    )));
                }
            }
        }
        Ok(())
    }

    pub(super) fn check_clb_node(&self, node: &ClbNode) -> Result<(), Refusal> {
        check_name(&Key::new(Kind::ClbNode, &node.name), &node.name)?;
        if self.objects.get::<Region>(&node.region).is_none() {
            let by = Key::new(Kind::ClbNode, &node.name);
            return Err(unknown_region(&by, &node.region));
        }
        if !(0..=WEIGHT_MAX).contains(&node.weight) {
            return Err(Reason::Range.because(format_args!(
                "CLB node `{}` has weight {}; a weight is 0 to {WEIGHT_MAX}",
                node.name, node.weight
            )));
        }
        Ok(())
    }

    pub(super) fn check_host(&self, host: &Host) -> Result<(), Refusal> {
        let key = Key::new(Kind::Host, &host.name);
        check_name(&key, &host.name)?;
        if self.objects.get::<Region>(&host.region).is_none() {
            return Err(unknown_region(&key, &host.region));
        }
        self.check_groups(&key, &host.security_groups)
    }

    pub(super) fn check_eni(&self, eni: &Eni) -> Result<(), Refusal> {
        let key = Key::new(Kind::Eni, &eni.name);
        check_name(&key, &eni.name)?;
        if eni.addresses.is_empty() {
            return Err(Reason::Missing.because(format_args!("{key} has no address")));
        }
        if !eni.host.is_empty() && self.objects.get::<Host>(&eni.host).is_none() {
            return Err(unknown(key, "host", &eni.host));
        }
        Ok(())
    }

    pub(super) fn check_prefix(&self, prefix: &Prefix) -> Result<(), Refusal> {
        let key = Key::new(Kind::Prefix, &prefix.name);
        check_name(&key, &prefix.name)?;
        if !prefix.network.is_valid() {
            return Err(
                Reason::Value.because(format_args!("{} of {key} is no network", prefix.network))
            );
        }
        let others = self.objects.all::<Prefix>();
        let mut others = others.filter(|other| other.name != prefix.name);
        match others.find(|other| other.network.overlaps(&prefix.network)) {
            Some(other) => Err(Reason::Duplicate.because(format_args!(
                "{} of {key} overlaps prefix `{}`",
                prefix.network, other.name
            ))),
            None => Ok(()),
        }
    }

    pub(super) fn check_path(&self, path: &Path) -> Result<(), Refusal> {
        let key = Key::new(Kind::Path, &path.name);
        check_name(&key, &path.name)?;
        let region = |name: &str| match self.objects.get::<Region>(name) {
            Some(_) => Ok(()),
            None => Err(unknown_region(&key, name)),
        };
        let mut regions: Vec<&str> = Vec::with_capacity(2);
        match &path.ends {
            Ends::Ccn { pop, region } => {
                let found = self.objects.get::<Pop>(pop);
                let found = found.ok_or_else(|| unknown(&key, "POP", pop))?;
                self.check_family(path, &found.name, found.underlay)?;
                regions.push(region);
            }
            Ends::Fabric { host } => {
                let found = self.objects.get::<Host>(host);
                let found = found.ok_or_else(|| unknown(&key, "host", host))?;
                self.check_family(path, &found.name, found.underlay)?;
                regions.push(&found.region);
            }
            Ends::Mesh { region } => regions.push(region),
            Ends::Backbone { regions: both } => regions.extend(both.iter().map(String::as_str)),
        }
        for name in regions {
            region(name)?;
            let nodes = self.objects.all::<ClbNode>();
            let mut nodes = nodes.filter(|node| node.region == name);
            nodes.try_for_each(|node| self.check_family(path, &node.name, node.underlay))?;
        }
        let inner_mtu = path.inner_mtu();
        if inner_mtu < INNER_MTU_MIN_V4 {
            return Err(Reason::Range.because(format_args!(
                "{key} carries inner packets of {inner_mtu} bytes; {INNER_MTU_MIN_V4} are needed"
            )));
        }
        Ok(())
    }

    fn check_family(&self, path: &Path, node: &str, underlay: Underlay) -> Result<(), Refusal> {
        if underlay.has(path.underlay) {
            return Ok(());
        }
        let family = match path.underlay {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        };
        Err(Reason::Operation.because(format_args!(
            "path `{}` ends at `{node}`, which has no tunnel address of the path's family ({family})",
            path.name
        )))
    }
}

fn check_most(kind: &str, count: usize, most: usize) -> Result<(), Refusal> {
    if count > most {
        return Err(Reason::Limit.because(format_args!(
            "{count} objects of kind {kind}, and at most {most} have an id"
        )));
    }
    Ok(())
}
