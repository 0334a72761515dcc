//! A simulated machine's disk: made when it is first used, and waited for in virtual time.

use std::future::Future;

use anyedge_net::time::Instant;

use super::{By, SimHost, Sleep};
use crate::disk::{Disk, HostDisk};
use crate::world::World;

impl SimHost {
    /// The machine's disk, which outlives its crashes.
    pub fn disk(&self) -> Disk {
        let mut world = self.shared.world();
        self.entry(&mut world).disk.clone()
    }

    fn entry<'a>(&self, world: &'a mut World) -> &'a mut HostDisk {
        let (now, seed) = (world.now(), world.seed());
        let entry = &mut world.hosts[self.id.index()];
        let spec = entry.disk_spec;
        entry.disk.get_or_insert_with(|| {
            let rng = seed.stream(&self.name, "what a crash takes of the disk");
            HostDisk {
                disk: Disk::new(spec, rng),
                free_at: now,
            }
        })
    }

    /// Works at once, and tells the result when the disk has caught up with everything that it was asked.
    pub(super) fn after_the_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = T> + Send + 'static {
        let host = self.clone();
        async move {
            let result = work();
            let done_at = host.disk_done_at();
            Sleep::new(&host.shared, host.id, By::World, done_at).await;
            result
        }
    }

    /// When the disk has done all that it was asked until now.
    fn disk_done_at(&self) -> Instant {
        let mut world = self.shared.world();
        let now = world.now();
        let Some(own) = &mut world.hosts[self.id.index()].disk else {
            return now;
        };
        own.free_at = own.free_at.max(now) + own.disk.take_owed();
        own.free_at
    }
}
