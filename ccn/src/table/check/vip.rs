//! VIPs: their addresses, who announces them, and what they are bound to.
//!
//! Every POP that announces a VIP has a way to the region of each load balancer that may serve it, and whatever
//! leads to an IPv6 VIP carries 1,280 bytes (RFC 8200 §5).

use std::collections::BTreeSet;

use anyedge_net::flow::Family;
use anyedge_net::switch;

use super::super::object::{
    Clb, ClbType, CrossRegion, IpVersion, Key, Kind, Pop, Settings, Target, Vip,
};
use super::super::refusal::{Reason, Refusal};
use super::super::transaction::Transaction;
use super::super::{BASIC_NETWORK, INNER_MTU_MIN_V6, VIPS_MAX, unknown, unknown_clb};
use super::names::check_name;

impl Transaction<'_> {
    pub(super) fn check_vip(&self, vip: &Vip) -> Result<(), Refusal> {
        let key = Key::new(Kind::Vip, &vip.name);
        check_name(&key, &vip.name)?;
        self.check_quota(Kind::Vip, VIPS_MAX as u32)?;
        if vip.addresses.is_empty() {
            return Err(Reason::Missing.because(format_args!("{key} has no address")));
        }
        for address in &vip.addresses {
            if address.is_unspecified() || address.is_multicast() {
                return Err(Reason::Value.because(format_args!("{key} has address {address}")));
            }
            if self.objects.vips_at(address) > 1 {
                return Err(Reason::Duplicate
                    .because(format_args!("address {address} of {key} is there twice")));
            }
        }
        if vip.publish.is_empty() && switch::is_on("S-AC03") {
            return Err(Reason::Missing.because(format_args!("{key} is published by no POP")));
        }
        if !switch::is_on("S-AC04")
            && let Some(clb) = self.objects.get::<Clb>(&vip.clb)
            && !vip.publish.contains(&format!("pop.{}", clb.region))
        {
            return Err(Reason::Operation.because("without S-AC04"));
        }
        let mut publishers = BTreeSet::new();
        for name in &vip.publish {
            if self.objects.get::<Pop>(name).is_none() {
                return Err(unknown(&key, "POP", name));
            }
            if !publishers.insert(name) {
                return Err(Reason::Duplicate
                    .because(format_args!("publisher `{name}` of {key} is there twice")));
            }
        }
        self.check_publishers(vip, false)?;
        let mut regions = BTreeSet::new();
        let bound = (!vip.clb.is_empty()).then_some(&vip.clb);
        if bound.is_some() {
            self.check_beta(&key, Settings::ANYCAST)?;
        }
        for name in bound.into_iter().chain(&vip.standby) {
            let clb = self.objects.get::<Clb>(name);
            let clb = clb.ok_or_else(|| unknown_clb(&key, name))?;
            if !regions.insert(&clb.region) {
                return Err(Reason::Duplicate.because(format_args!(
                    "region `{}` among the home and the standbys of {key} is there twice",
                    clb.region
                )));
            }
            self.check_bound(&key, vip, clb)?;
            self.check_ways(&key, vip, clb)?;
        }
        Ok(())
    }

    /// What a VIP may be bound to.
    fn check_bound(&self, key: &Key, vip: &Vip, clb: &Clb) -> Result<(), Refusal> {
        let refuse = |what: &str| {
            Err(Reason::ClbStatus.because(format_args!(
                "{key} cannot be bound to load balancer `{}`, which {what}",
                clb.name
            )))
        };
        if clb.clb_type == ClbType::Public && switch::is_on("S-AC05") {
            return refuse("is public; an internal one can have an anycast address");
        }
        if clb.classic {
            return refuse("is classic");
        }
        if clb.network == BASIC_NETWORK {
            return refuse("is in the basic network");
        }
        if clb.cross_region == CrossRegion::V1 {
            return refuse("has cross-region binding 1.0");
        }
        let other = match clb.ip_version {
            IpVersion::Dual => None,
            IpVersion::V4 => Some(Family::V6),
            IpVersion::V6 | IpVersion::Nat64 => Some(Family::V4),
        };
        let mut addresses = vip.addresses.iter();
        if let Some(address) = addresses.find(|address| Some(address.family()) == other) {
            return Err(Reason::Protocol.because(format_args!(
                "{key} has address {address}, of a family that load balancer `{}` does not serve",
                clb.name
            )));
        }
        let others = self.objects.all::<Vip>();
        let mut others = others.filter(|other| other.name != vip.name && other.clb == vip.clb);
        if self.is_tencent()
            && clb.name == vip.clb
            && let Some(other) = others.next()
        {
            return refuse(&format!("has VIP `{}` already", other.name));
        }
        Ok(())
    }

    /// Every publisher reaches the load balancer's region, with packets that are large enough.
    fn check_ways(&self, key: &Key, vip: &Vip, clb: &Clb) -> Result<(), Refusal> {
        let v6 = vip.addresses.iter().find(|it| it.family() == Family::V6);
        let fits = |mtu: u16| {
            match v6 {
            Some(address) if mtu < INNER_MTU_MIN_V6 => Err(Reason::Range.because(format_args!(
                "the way to address {address} of {key} carries inner packets of {mtu} bytes; {INNER_MTU_MIN_V6} are needed"
            ))),
            Some(_) | None => Ok(()),
        }
        };
        for pop in &vip.publish {
            let mtu = self.reach.pop_mtu(pop, &clb.region).ok_or_else(|| {
                Reason::Operation.because(format_args!(
                    "{key} is published by `{pop}`, which has no path to region `{}`",
                    clb.region
                ))
            })?;
            fits(mtu)?;
        }
        if v6.is_none() {
            return Ok(());
        }
        self.reach.mesh_mtu(&clb.region).map_or(Ok(()), fits)?;
        let targets = self.objects.all_of::<Target>(&clb.name);
        let mut mtus = targets.filter_map(|target| self.reach.host_mtu(&target.host));
        mtus.try_for_each(fits)
    }

    /// A VIP keeps `publishers_min` of its POPs, also without those that drain if these count.
    pub(in super::super) fn check_publishers(
        &self,
        vip: &Vip,
        drains_count: bool,
    ) -> Result<(), Refusal> {
        let stays = |name: &&String| {
            let pop = self.objects.get::<Pop>(name);
            !drains_count || pop.is_some_and(|pop| !pop.draining)
        };
        let left = vip.publish.iter().filter(stays).count();
        if left < vip.publishers_min as usize {
            return Err(Reason::Operation.because(format_args!(
                "VIP `{}` would have {left} POPs that do not drain; it needs {}",
                vip.name, vip.publishers_min
            )));
        }
        Ok(())
    }
}
