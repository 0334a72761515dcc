//! Machines with services: what starts on each, when the run begins and whenever the machine comes back.

use std::sync::Arc;

use anyedge_traffic::backend::{self, BackendConfig, Unobserved};

use super::routers::RouterServices;
use super::streams::StreamServices;
use crate::build::{BackendHost, BuildError, ManagedHost};
use crate::executor::{Executor, HostId};
use crate::host::{Shared, SimHost};
use crate::services::Services;
use crate::world::Power;

/// Every machine but the clients', which never stop.
pub(super) struct Machines<'s> {
    backends: Vec<BackendHost>,
    managed: Vec<ManagedHost>,
    streams: StreamServices,
    routers: RouterServices,
    /// The control plane's, which start first.
    own: Services,
    services: &'s Services,
}

impl<'s> Machines<'s> {
    /// The machines of a world, with `services` for the nodes' own.
    pub(super) fn new(
        backends: Vec<BackendHost>,
        managed: Vec<ManagedHost>,
        (streams, routers): (StreamServices, RouterServices),
        own: Services,
        services: &'s Services,
    ) -> Result<Machines<'s>, BuildError> {
        for machine in services.machines() {
            if !managed.iter().any(|known| known.name == machine) {
                return Err(BuildError::NoSuchMachine(machine.to_owned()));
            }
        }
        Ok(Machines {
            backends,
            managed,
            streams,
            routers,
            own,
            services,
        })
    }

    /// Starts every machine that is there when the run begins.
    pub(super) fn start_all(&self, shared: &Arc<Shared>) {
        self.backends.iter().for_each(|own| serve(shared, own));
        for own in &self.managed {
            let is_down = shared.world().hosts[own.host.index()].down.is_some();
            if !is_down {
                self.boot(shared, own);
            }
        }
        self.streams.start_all(shared);
        self.routers.start_all(shared);
    }

    /// Ends the services of machines that stopped, starts those of machines that came back, and lets machines
    /// hang or go on.
    pub(super) fn follow_power(&self, executor: &mut Executor, shared: &Arc<Shared>) {
        let changes = shared.world().take_power();
        for (host, power) in changes {
            match power {
                Power::Off => {
                    executor.kill_host(host);
                }
                Power::On => self.start(shared, host),
                Power::Hangs => executor.hang_host(host),
                Power::GoesOn => executor.release_host(host),
            }
        }
    }

    fn start(&self, shared: &Arc<Shared>, host: HostId) {
        if let Some(own) = self.backends.iter().find(|own| own.host == host) {
            return serve(shared, own);
        }
        if self.streams.start(shared, host) || self.routers.start(shared, host) {
            return;
        }
        let own = self.managed.iter().find(|own| own.host == host);
        self.boot(shared, own.expect("clients' machines never stop"));
    }

    fn boot(&self, shared: &Arc<Shared>, own: &ManagedHost) {
        let starts = self.own.of(&own.name).chain(self.services.of(&own.name));
        for start in starts {
            start(SimHost::new(shared, own.host, &own.name));
        }
    }
}

/// Starts what a backend's machine serves.
fn serve(shared: &Arc<Shared>, served: &BackendHost) {
    let host = SimHost::new(shared, served.host, &served.name);
    let config = BackendConfig {
        services: served.services.clone(),
        ..BackendConfig::on(served.listen.clone())
    };
    backend::serve(&host, config, Arc::new(Unobserved)).expect("a fresh host has every port free");
}
