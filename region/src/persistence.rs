//! Session persistence: clients that stay with their target, by their source address.
//!
//! A client's first flow gets its target from the round robin; each later one gets the same until none came for
//! `session_expire`. The other owner of a slot learns of a client with its flow's entry, so that both outlive a node. The
//! table is bounded: when it is full, those whose time is over make room, and else a new client does not stay.
//!
//! Nothing wakes the node for it: clients whose time is over go when others come.
//!
//! Invariant: a client of a listener is there once at most.

use core::time::Duration;

use anyedge_net::flow::{Address, HashKey};
use anyedge_net::time::Instant;

use crate::expiry::Expiry;
use crate::flow_index::FlowIndex;

/// Clients that a node remembers.
pub(crate) const CLIENTS_MAX: usize = 262_144;
/// Clients looked at for one that comes.
const LOOKS_MAX: usize = 4;

/// The clients that stay. Memory is asked for when the first one comes.
#[derive(Default)]
pub(crate) struct Persistence(Option<Box<Clients>>);

struct Clients {
    clients: Vec<Client>,
    by_client: FlowIndex,
    expiry: Expiry,
}

/// A client of a listener and where it stays.
#[derive(Clone, Copy, Debug)]
struct Client {
    listener: u16,
    address: Address,
    hash: u32,
    target: (Address, u16),
    until: Instant,
}

impl Persistence {
    /// Where a client of the listener of that number stays: address and port of a server.
    pub(crate) fn target_of(
        &self,
        now: Instant,
        (listener, address): (u16, &Address),
        hash_key: &HashKey,
    ) -> Option<(Address, u16)> {
        let clients = self.0.as_ref()?;
        let hash = hash_of(listener, address, hash_key);
        let id = clients.find(hash, listener, address)?;
        let client = &clients.clients[id as usize];
        (now < client.until).then_some(client.target)
    }

    /// A client had a new flow, and stays with its target for `expire` from now on.
    pub(crate) fn stay(
        &mut self,
        now: Instant,
        (listener, address): (u16, Address),
        target: (Address, u16),
        expire: Duration,
        hash_key: &HashKey,
    ) {
        let clients = self.0.get_or_insert_with(|| Box::new(Clients::new()));
        let client = Client {
            listener,
            address,
            hash: hash_of(listener, &address, hash_key),
            target,
            until: now + expire,
        };
        clients.set(now, client);
    }

    /// The listeners have other numbers: `number` gives the one of an old one, and none for one that is gone.
    pub(crate) fn renumber(&mut self, hash_key: &HashKey, number: impl Fn(u16) -> Option<u16>) {
        let Some(clients) = &mut self.0 else {
            return;
        };
        clients.by_client.clear();
        let ids: Vec<u32> = clients.expiry.armed().collect();
        for id in ids {
            let client = &mut clients.clients[id as usize];
            match number(client.listener) {
                Some(listener) => {
                    client.listener = listener;
                    client.hash = hash_of(listener, &client.address, hash_key);
                    clients.by_client.insert(client.hash, id);
                }
                None => clients.expiry.release(id),
            }
        }
    }

    /// Clients that are remembered, those included whose time is over.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.0
            .as_ref()
            .map_or(0, |clients| clients.expiry.armed().count())
    }
}

impl Clients {
    fn new() -> Clients {
        Clients {
            clients: Vec::new(),
            by_client: FlowIndex::new(CLIENTS_MAX),
            expiry: Expiry::new(CLIENTS_MAX),
        }
    }

    fn find(&self, hash: u32, listener: u16, address: &Address) -> Option<u32> {
        let is_it = |id: u32| {
            let client = &self.clients[id as usize];
            client.listener == listener && client.address == *address
        };
        self.by_client.find(hash, is_it)
    }

    fn set(&mut self, now: Instant, client: Client) {
        self.collect(now);
        if let Some(id) = self.find(client.hash, client.listener, &client.address) {
            self.clients[id as usize] = client;
            self.expiry.shorten(id, client.until);
            return;
        }
        let Some(id) = self.expiry.claim(now, client.until) else {
            return;
        };
        match self.clients.get_mut(id as usize) {
            Some(place) => *place = client,
            None => self.clients.push(client),
        }
        self.by_client.insert(client.hash, id);
    }

    /// Lets go of some whose time is over.
    fn collect(&mut self, now: Instant) {
        for _ in 0..LOOKS_MAX {
            let Some(id) = self.expiry.pop_due(now) else {
                return;
            };
            let client = self.clients[id as usize];
            if now < client.until {
                self.expiry.arm(id, client.until);
            } else {
                self.by_client.remove(client.hash, id);
                self.expiry.release(id);
            }
        }
    }
}

fn hash_of(listener: u16, address: &Address, hash_key: &HashKey) -> u32 {
    let mut bytes = [0; 18];
    bytes[..2].copy_from_slice(&listener.to_be_bytes());
    let octets = address.octets();
    bytes[2..2 + octets.len()].copy_from_slice(octets);
    hash_key.hash_bytes(&bytes[..2 + octets.len()]) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: HashKey = HashKey::new([7; 16]);
    const EXPIRE: Duration = Duration::from_secs(30);

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    fn client(number: u32) -> Address {
        Address::v4(number.to_be_bytes())
    }

    fn server(number: u8) -> (Address, u16) {
        (Address::v4([10, 0, 0, number]), 80)
    }

    fn stay(persistence: &mut Persistence, seconds: u64, number: u32, target: u8) {
        persistence.stay(
            at(seconds),
            (0, client(number)),
            server(target),
            EXPIRE,
            &KEY,
        );
    }

    fn target_of(persistence: &Persistence, seconds: u64, number: u32) -> Option<(Address, u16)> {
        persistence.target_of(at(seconds), (0, &client(number)), &KEY)
    }

    #[test]
    fn a_client_stays_until_no_flow_came_for_the_time() {
        let mut all = Persistence::default();
        stay(&mut all, 1, 1, 1);
        assert_eq!(target_of(&all, 30, 1), Some(server(1)));
        assert_eq!(target_of(&all, 31, 1), None);
        stay(&mut all, 30, 1, 1);
        assert_eq!(target_of(&all, 59, 1), Some(server(1)));
        assert_eq!(target_of(&all, 60, 1), None);
    }

    #[test]
    fn clients_and_listeners_are_told_apart() {
        let mut all = Persistence::default();
        stay(&mut all, 1, 1, 1);
        assert_eq!(target_of(&all, 2, 2), None);
        assert_eq!(all.target_of(at(2), (1, &client(1)), &KEY), None);
    }

    #[test]
    fn a_client_goes_with_its_listener_to_another_number() {
        let mut all = Persistence::default();
        stay(&mut all, 1, 1, 1);
        all.renumber(&KEY, |number| Some(number + 4));
        assert_eq!(all.target_of(at(2), (4, &client(1)), &KEY), Some(server(1)));
        all.renumber(&KEY, |_| None);
        assert_eq!(all.len(), 0);
    }

    #[test]
    fn a_full_table_takes_nobody_until_times_are_over() {
        let mut all = Persistence::default();
        for number in 0..CLIENTS_MAX as u32 {
            stay(&mut all, 1, number, 1);
        }
        stay(&mut all, 2, u32::MAX, 1);
        assert_eq!(target_of(&all, 3, u32::MAX), None);
        assert_eq!(target_of(&all, 3, 0), Some(server(1)), "who is there stays");
        stay(&mut all, 32, u32::MAX, 2);
        assert_eq!(target_of(&all, 33, u32::MAX), Some(server(2)));
    }
}
