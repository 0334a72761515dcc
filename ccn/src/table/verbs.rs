//! What the product has verbs for: how each changes objects. Whether the outcome holds is checked elsewhere.

use anyedge_net::switch;
use anyedge_net::time::Instant;

use super::change::PutMode;
use super::membership::Membership;
use super::object::{
    Attachment, Clb, ClbNode, CrossRegion, Ends, Eni, Host, Key, Kind, Kinded, Listener, Object,
    Path, Pop, Prefix, SnatBlock, Target, Vip,
};
use super::refusal::{Reason, Refusal};
use super::transaction::Transaction;
use super::{not_found, unknown};

impl Transaction<'_> {
    /// An object of this kind and name that is to be changed.
    pub(super) fn find<T: Kinded + Clone>(&self, name: &str) -> Result<T, Refusal> {
        let found = self.objects.get::<T>(name).cloned();
        found.ok_or_else(|| not_found(&Key::new(T::KIND, name)))
    }

    pub(super) fn vip(&self, name: &str) -> Result<Vip, Refusal> {
        self.find(name)
    }

    pub(super) fn put(&mut self, object: &Object, mode: PutMode) -> Result<(), Refusal> {
        let key = object.key();
        let known = self.objects.entry(key.kind, &key.name).is_some();
        match mode {
            PutMode::Create if known => {
                return Err(Reason::Duplicate.because(format_args!("{key} is there already")));
            }
            PutMode::Update if !known => return Err(not_found(&key)),
            PutMode::Create | PutMode::Update | PutMode::Ensure => {}
        }
        match object {
            Object::SnatBlock(_) | Object::CcnRoute(_) | Object::Stage(_) => {
                Err(Reason::Operation.because(format_args!("{key} is made by the table alone")))
            }
            Object::Target(target) => {
                self.place_target(target.clone());
                Ok(())
            }
            Object::Vip(vip) => self.allocate(vip.clone()),
            Object::Attachment(attachment) => self.attach(attachment.clone()),
            Object::AutoScalingGroup(group) => self.put_scaling_group(group.clone()),
            _ => {
                self.set_object(object.clone());
                Ok(())
            }
        }
    }

    pub(super) fn remove(&mut self, key: &Key) -> Result<(), Refusal> {
        if self.objects.entry(key.kind, &key.name).is_none() {
            return Err(not_found(key));
        }
        if let Some(by) = self.holder(key) {
            return Err(Reason::InUse.because(format_args!("{key} is in use by {by}, and stays")));
        }
        match key.kind {
            Kind::Settings | Kind::SnatBlock | Kind::CcnRoute | Kind::Stage => {
                return Err(Reason::Operation.because(format_args!("{key} is not to be removed")));
            }
            Kind::Host => self.release_host(&key.name)?,
            Kind::Clb => {
                let below = [Kind::Listener, Kind::Rule, Kind::Target, Kind::SnatIp];
                self.unset_below(&below, &key.name);
                self.unset_below(&[Kind::SnatBlock], &key.name);
            }
            Kind::Listener => self.unset_below(&[Kind::Rule, Kind::Target], &key.name),
            Kind::Rule => self.unset_below(&[Kind::Target], &key.name),
            Kind::SnatIp => self.unset_below(&[Kind::SnatBlock], &key.name),
            Kind::Attachment => self.forget_routes(&key.name),
            Kind::AutoScalingGroup => self.empty_scaling_group(&key.name)?,
            _ => {}
        }
        self.unset(key);
        Ok(())
    }

    fn unset_below(&mut self, kinds: &[Kind], parent: &str) {
        for kind in kinds {
            let below = self.objects.entries_of(*kind, parent);
            let below: Vec<Key> = below.map(|(name, _)| Key::new(*kind, name)).collect();
            for key in &below {
                self.unset(key);
            }
        }
    }

    /// Who keeps `key` from being removed.
    fn holder(&self, key: &Key) -> Option<Key> {
        let name = key.name.as_str();
        match key.kind {
            Kind::Region => {
                let node = |node: &&ClbNode| node.region == name;
                let node = self.objects.all::<ClbNode>().find(node);
                let clb = self.objects.all::<Clb>().find(|clb| clb.region == name);
                let host = self.objects.all::<Host>().find(|host| host.region == name);
                let node = node.map(|node| Key::new(Kind::ClbNode, &node.name));
                node.or_else(|| clb.map(|clb| Key::new(Kind::Clb, &clb.name)))
                    .or_else(|| host.map(|host| Key::new(Kind::Host, &host.name)))
                    .or_else(|| self.path_to(name))
            }
            Kind::Pop => {
                let publishes = |vip: &&Vip| vip.publish.iter().any(|pop| pop == name);
                let vip = self.objects.all::<Vip>().find(publishes);
                vip.map(|vip| Key::new(Kind::Vip, &vip.name))
                    .or_else(|| self.path_to(name))
            }
            Kind::Clb => {
                let serves =
                    |vip: &&Vip| vip.clb == name || vip.standby.iter().any(|clb| clb == name);
                let vip = self.objects.all::<Vip>().find(serves);
                vip.map(|vip| Key::new(Kind::Vip, &vip.name))
                    .or_else(|| self.scaled_by(name))
            }
            Kind::Listener | Kind::Rule => self.scaled_by(name),
            Kind::Prefix => {
                let vip = self.objects.all::<Vip>().find(|vip| vip.prefix == name);
                vip.map(|vip| Key::new(Kind::Vip, &vip.name))
            }
            Kind::SecurityGroup => self.bound_to_group(name),
            Kind::Ccn => {
                let attached = self.objects.all_of::<Attachment>(name).next();
                attached.map(|attached| Key::new(Kind::Attachment, attached.full_name()))
            }
            _ => None,
        }
    }

    fn path_to(&self, end: &str) -> Option<Key> {
        let leads = |path: &&Path| match &path.ends {
            Ends::Ccn { pop, region } => pop == end || region == end,
            Ends::Fabric { host } => host == end,
            Ends::Mesh { region } => region == end,
            Ends::Backbone { regions } => regions.iter().any(|region| region == end),
        };
        let path = self.objects.all::<Path>().find(leads);
        path.map(|path| Key::new(Kind::Path, &path.name))
    }

    /// A host goes with its paths. Its targets are unbound, but for those of load balancers elsewhere with
    /// cross-region binding 2.0, which stay until somebody unbinds them.
    fn release_host(&mut self, host: &str) -> Result<(), Refusal> {
        let region = self.find::<Host>(host)?.region;
        let stays = |target: &Target| {
            let clb = self.objects.get::<Clb>(&target.clb);
            clb.is_some_and(|clb| clb.cross_region == CrossRegion::V2 && clb.region != region)
        };
        let targets = self.objects.all::<Target>();
        let targets = targets.filter(|target| target.host == host && !stays(target));
        let targets = targets.map(|target| Key::new(Kind::Target, target.full_name()));
        let paths = self.objects.all::<Path>();
        let paths =
            paths.filter(|path| matches!(&path.ends, Ends::Fabric { host: end } if end == host));
        let paths = paths.map(|path| Key::new(Kind::Path, &path.name));
        let gone: Vec<Key> = targets.chain(paths).collect();
        let enis = self.objects.all::<Eni>().filter(|eni| eni.host == host);
        let enis: Vec<Eni> = enis.cloned().collect();
        for eni in enis {
            let host = String::new();
            self.set(Eni { host, ..eni });
        }
        for key in &gone {
            self.unset(key);
        }
        self.leave_scaling_groups(host);
        Ok(())
    }

    pub(super) fn register_targets(&mut self, targets: &[Target]) -> Result<(), Refusal> {
        self.each(targets, |this, target| {
            let name = target.full_name();
            if this.objects.get::<Target>(&name).is_some() && switch::is_on("S-BE07") {
                let object = target_sentence(target);
                return Err(Reason::Duplicate.because(format_args!("{object} is there twice")));
            }
            this.place_target(target.clone());
            Ok(())
        })
    }

    /// Sets a target where it was, or behind all others.
    fn place_target(&mut self, mut target: Target) {
        let known = self.objects.get::<Target>(&target.full_name());
        if target.place == 0 {
            target.place = match known {
                Some(known) => known.place,
                None => self.next_place(),
            };
        }
        self.set(target);
    }

    /// The target of that name; or which of its names leads nowhere.
    fn find_target(&self, name: &str) -> Result<Target, Refusal> {
        if let Some(target) = self.objects.get::<Target>(name) {
            return Ok(target.clone());
        }
        let mut parts = name.splitn(3, '/');
        if let (Some(clb), Some(listener)) = (parts.next(), parts.next()) {
            self.find::<Clb>(clb)?;
            self.find::<Listener>(&format!("{clb}/{listener}"))?;
        }
        Err(not_found(&Key::new(Kind::Target, name)))
    }

    pub(super) fn deregister_target(&mut self, name: &str) -> Result<(), Refusal> {
        let target = self.find_target(name)?;
        self.unset(&Key::new(Kind::Target, target.full_name()));
        Ok(())
    }

    pub(super) fn set_target_weight(&mut self, name: &str, weight: i32) -> Result<(), Refusal> {
        let target = self.find_target(name)?;
        self.set(Target { weight, ..target });
        Ok(())
    }

    pub(super) fn set_target_port(&mut self, name: &str, port: u32) -> Result<(), Refusal> {
        let target = self.find_target(name)?;
        let moved = Target {
            port,
            ..target.clone()
        };
        if port == target.port {
            return Ok(());
        }
        if self.objects.get::<Target>(&moved.full_name()).is_some() {
            let object = target_sentence(&moved);
            return Err(Reason::Duplicate.because(format_args!("{object} is there twice")));
        }
        self.unset(&Key::new(Kind::Target, target.full_name()));
        self.set(moved);
        Ok(())
    }

    pub(super) fn set_draining(&mut self, key: &Key, draining: bool) -> Result<(), Refusal> {
        match key.kind {
            Kind::Pop => {
                let pop = self.objects.get::<Pop>(&key.name).cloned();
                let pop = pop.ok_or_else(|| unknown("a drain", "POP", &key.name))?;
                self.set(Pop { draining, ..pop });
                if draining {
                    let vips: Vec<Vip> = self.objects.all::<Vip>().cloned().collect();
                    let published = |vip: &&Vip| vip.publish.contains(&key.name);
                    for vip in vips.iter().filter(published) {
                        self.check_publishers(vip, true)?;
                    }
                }
                Ok(())
            }
            Kind::Path => {
                let path = self.objects.get::<Path>(&key.name).cloned();
                let path = path.ok_or_else(|| unknown("a drain", "path", &key.name))?;
                self.set(Path { draining, ..path });
                Ok(())
            }
            Kind::ClbNode => {
                let membership = if draining {
                    Membership::Drained
                } else {
                    Membership::In
                };
                self.set_member(&key.name, Some(membership), None)
            }
            _ => Err(Reason::Operation.because(format_args!(
                "{key} cannot drain; a POP, a CLB node or a path can"
            ))),
        }
    }

    pub(super) fn set_member(
        &mut self,
        clb_node: &str,
        membership: Option<Membership>,
        weight: Option<i32>,
    ) -> Result<(), Refusal> {
        let node = self.objects.get::<ClbNode>(clb_node).cloned();
        let by = match membership {
            Some(_) => "a change of membership",
            None => "a change of weight",
        };
        let node = node.ok_or_else(|| unknown(by, "CLB node", clb_node))?;
        let lost = membership == Some(Membership::Lost) && node.membership != Membership::Lost;
        let next = membership.unwrap_or(node.membership);
        let node = ClbNode {
            membership: next,
            weight: weight.unwrap_or(node.weight),
            returns_drained: next == Membership::Lost
                && (node.returns_drained || node.membership == Membership::Drained),
            ..node
        };
        self.set(node.clone());
        match next {
            Membership::Lost if lost => self.hand_over_snat(&node),
            Membership::Lost => {}
            _ => self.bring_home_snat(&node),
        }
        Ok(())
    }

    pub(super) fn bind_vip(&mut self, vip: &str, clb: &str) -> Result<(), Refusal> {
        let vip = self.vip(vip)?;
        if !clb.is_empty() && !vip.clb.is_empty() && vip.clb != clb {
            return Err(Reason::Operation.because(format_args!(
                "VIP `{}` is bound to load balancer `{}`; unbind it first",
                vip.name, vip.clb
            )));
        }
        if clb.is_empty() && vip.clb.is_empty() {
            return Err(Reason::Operation.because(format_args!("VIP `{}` is not bound", vip.name)));
        }
        let clb = clb.to_owned();
        self.set(Vip { clb, ..vip });
        Ok(())
    }

    /// A VIP without an address gets the first free one of its prefix.
    fn allocate(&mut self, mut vip: Vip) -> Result<(), Refusal> {
        if vip.addresses.is_empty() && !vip.prefix.is_empty() {
            let known = self.objects.get::<Vip>(&vip.name);
            match known.filter(|known| known.prefix == vip.prefix) {
                Some(known) => vip.addresses.clone_from(&known.addresses),
                None => {
                    let prefix = self.find::<Prefix>(&vip.prefix)?;
                    let mut free = prefix.network.usable();
                    let free = free.find(|address| self.objects.vips_at(address) == 0);
                    vip.addresses.push(free.ok_or_else(|| {
                        Reason::Insufficient.because(format_args!(
                            "prefix `{}` ({}) has no free address",
                            prefix.name, prefix.network
                        ))
                    })?);
                }
            }
        }
        self.set(vip);
        Ok(())
    }

    pub(super) fn move_eni(&mut self, eni: &str, host: &str) -> Result<(), Refusal> {
        let eni = self.find::<Eni>(eni)?;
        if !host.is_empty() {
            let host = self.find::<Host>(host)?;
            // The default network of each region is another one.
            let attached = self.objects.get::<Host>(&eni.host);
            let elsewhere = attached.is_some_and(|it| it.region != host.region);
            let (to, from) = ((&host.zone, &host.network), (&eni.zone, &eni.network));
            if (to != from || elsewhere) && switch::is_on("S-EN03") {
                return Err(Reason::Operation.because(format_args!(
                    "elastic network interface `{}` of zone `{}` and network `{}` cannot go to `{}`, which is in zone `{}` and network `{}`",
                    eni.name, eni.zone, eni.network, host.name, host.zone, host.network
                )));
            }
        }
        let owned = host.to_owned();
        let targets = self.objects.all::<Target>();
        let moved = targets.filter(|target| {
            target.kind == super::object::TargetKind::Eni && eni.addresses.contains(&target.address)
        });
        let moved: Vec<Target> = moved.cloned().collect();
        if host.is_empty() && !moved.is_empty() {
            return Err(Reason::InUse.because(format_args!(
                "elastic network interface `{}` is bound by `{}`, and stays attached",
                eni.name,
                moved[0].full_name()
            )));
        }
        self.set(Eni {
            host: owned.clone(),
            ..eni
        });
        for target in moved {
            let host = owned.clone();
            self.set(Target { host, ..target });
        }
        Ok(())
    }
}

/// How a refusal names a target.
pub(super) fn target_sentence(target: &Target) -> String {
    format!(
        "target {} of {}",
        target.own_name(),
        parent_sentence(target)
    )
}

/// How a refusal names the listener or rule of a target.
pub(super) fn parent_sentence(target: &Target) -> String {
    let kind = if target.rule.is_empty() {
        Kind::Listener
    } else {
        Kind::Rule
    };
    Key::new(kind, target.parent()).to_string()
}

impl SnatBlock {
    /// Whether somebody else may have it at `at`.
    pub(super) fn is_free(&self, at: Instant) -> bool {
        self.node.is_empty() && self.free_at <= at
    }
}
