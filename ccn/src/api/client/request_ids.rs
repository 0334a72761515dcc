//! Request ids of one client: no other client, and no earlier process of its name, makes the same.
//!
//! On a machine they come from the operating system's randomness. In the simulator they come from the seed, the name
//! of the client and the time at which it began, so that a run repeats and a host that starts again does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyedge_net::host::Host;
use rustls::crypto::ring;

/// The ids. Clones go on with the same.
#[derive(Clone, Debug)]
pub(super) struct RequestIds {
    start: Arc<str>,
    count: Arc<AtomicU64>,
}

impl RequestIds {
    pub(super) fn new<H: Host>(host: &H, name: &str) -> RequestIds {
        let mut random = [0; 8];
        match host.secrets(&format!("request ids {name}")) {
            Some(mut seeded) => seeded.fill(&mut random),
            None => {
                let source = ring::default_provider().secure_random;
                let filled = source.fill(&mut random);
                filled.expect("a kernel that gives no randomness can do no TLS either");
            }
        }
        let (random, now) = (u64::from_be_bytes(random), host.now().as_nanos());
        let start = format!("{random:016x}-{now:x}-");
        RequestIds {
            start: start.into(),
            count: Arc::new(AtomicU64::new(0)),
        }
    }

    pub(super) fn next(&self) -> String {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        format!("{}{count}", self.start)
    }
}
