//! Listeners: who answers a SYN, and how many connections wait.
//!
//! A listener has no socket of its own: a SYN makes one, which joins the accept queue when its handshake is
//! complete. Handshakes and queue together are bounded by the backlog.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use anyedge_net::flow::Address;

use super::tuple::Bound;
use super::waiter::Waiter;
use super::{socket_address, unspecified};
use crate::lookup::Table;

/// A TCP listener of a host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ListenerId {
    index: u32,
    generation: u32,
}

pub(super) struct Listener {
    pub(super) local: Bound,
    backlog: usize,
    /// Connections in their handshake.
    pub(super) half_open: usize,
    /// Positions of connections that wait for `accept`, oldest first.
    pub(super) waiting: VecDeque<u32>,
    pub(super) acceptor: Waiter,
}

impl Listener {
    pub(super) fn is_full(&self) -> bool {
        self.half_open + self.waiting.len() >= self.backlog
    }

    pub(super) fn local_addr(&self) -> SocketAddr {
        socket_address(self.local.address, self.local.port)
    }
}

#[derive(Default)]
pub(super) struct Listeners {
    slots: Vec<(u32, Option<Listener>)>,
    free: Vec<u32>,
    bound: Table<Bound, ListenerId>,
}

impl Listeners {
    pub(super) fn get(&mut self, id: ListenerId) -> Option<&mut Listener> {
        let (generation, listener) = &mut self.slots[id.index as usize];
        listener.as_mut().filter(|_| *generation == id.generation)
    }

    /// Who listens on exactly this address, and who on all of its family.
    pub(super) fn exact(&self, address: Address, port: u16) -> Option<ListenerId> {
        self.bound.get(&Bound { address, port }).copied()
    }

    pub(super) fn wildcard(&self, address: Address, port: u16) -> Option<ListenerId> {
        self.exact(unspecified(address.family()), port)
    }

    /// Whether a listener on `local` would share its port and an address with another one.
    pub(super) fn is_taken(&self, local: Bound) -> bool {
        if !local.address.is_unspecified() {
            return self.exact(local.address, local.port).is_some()
                || self.wildcard(local.address, local.port).is_some();
        }
        let others = self
            .slots
            .iter()
            .filter_map(|(_, listener)| listener.as_ref());
        others.map(|listener| listener.local).any(|other| {
            other.port == local.port && other.address.family() == local.address.family()
        })
    }

    pub(super) fn open(&mut self, local: Bound, backlog: usize) -> io::Result<ListenerId> {
        if self.is_taken(local) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push((0, None));
            u32::try_from(self.slots.len() - 1).expect("at most 65,536 ports per address")
        });
        let (generation, slot) = &mut self.slots[index as usize];
        *slot = Some(Listener {
            local,
            backlog: backlog.max(1),
            half_open: 0,
            waiting: VecDeque::new(),
            acceptor: Waiter::default(),
        });
        let id = ListenerId {
            index,
            generation: *generation,
        };
        self.bound.insert(local, id);
        Ok(id)
    }

    pub(super) fn close(&mut self, id: ListenerId) -> Option<Listener> {
        self.get(id)?;
        let (generation, slot) = &mut self.slots[id.index as usize];
        *generation = generation.wrapping_add(1);
        let listener = slot.take()?;
        self.free.push(id.index);
        self.bound.remove(&listener.local);
        Some(listener)
    }

    pub(super) fn forget_all(&mut self) {
        self.bound.clear();
        self.free.clear();
        for (index, (generation, slot)) in self.slots.iter_mut().enumerate() {
            *generation = generation.wrapping_add(1);
            *slot = None;
            self.free.push(index as u32);
        }
    }
}
