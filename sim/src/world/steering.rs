//! What follows of what nodes find out: another route table, another way into the network.
//!
//! Nodes tell by events. The steward hears which CLB nodes are found dead or alive, the Internet which VIPs a
//! POP wants announced; both act in their own time, by acts that are put on the calendar here.

use std::sync::Arc;

use anyedge_net::event::Event;
use anyedge_net::id::NodeId;
use anyedge_net::route_table::{NodeKind, RouteTable};

use super::World;
use crate::internet::{Change, News, SiteId, Standing};
use crate::scenario::Act;
use crate::steward::{Order, Steward};
use crate::underlay::Neighbours;

impl World {
    /// Puts `table` in force on every node.
    pub(crate) fn apply(&mut self, table: Arc<RouteTable>) {
        self.neighbours = Neighbours::of(&table);
        self.table = Arc::clone(&table);
        for index in 0..self.nodes.len() {
            self.table_reaches(self.nodes[index].id, Arc::clone(&table));
        }
    }

    /// The node at `index` told something that concerns more than itself.
    pub(super) fn notice(&mut self, index: usize, event: &Event) {
        let here = self.nodes[index].id;
        self.budget.note(self.now, here, event);
        self.tell_agent(here, event);
        match *event {
            Event::PeerState { path, peer, up } => {
                if let Some(steward) = &mut self.steward {
                    steward.hear(self.now, &self.table, (here, peer), path, up);
                    self.set_alarm();
                }
            }
            Event::Announcement { .. } | Event::Drains { .. } => self.steer(index, event),
            _ => {}
        }
    }

    /// The POP at `index` told what clients are to do: its speakers hear of it, or, without a router, the Internet.
    fn steer(&mut self, index: usize, event: &Event) {
        let node = &self.nodes[index];
        if let Some(peering) = self.peerings.of_node(node.id) {
            return peering.inbox.tell(event);
        }
        let Some(site) = node.site else {
            return;
        };
        match *event {
            Event::Drains { begins } => self.change_site(site, Change::Drains(begins)),
            Event::Announcement { vip, announced } => {
                let standing = if announced {
                    Standing::Announced
                } else {
                    Standing::Withdrawn
                };
                if let Some(vip) = self.internet.vip(vip) {
                    self.change_site(site, Change::Stands(vip, standing));
                }
            }
            _ => {}
        }
    }

    /// The node crashed: it says nothing any more. A POP's router finds out by itself; without one, the POP's VIPs are
    /// withdrawn at once.
    pub(super) fn forget(&mut self, node: NodeId) {
        if let Some(steward) = &mut self.steward {
            steward.forget(&self.table, node);
            self.set_alarm();
        }
        let is_pop = self.table.nodes[node.index()].kind == NodeKind::Pop;
        if let Some(site) = self.nodes[node.index()].site.filter(|_| is_pop)
            && !self.peering_stops(node)
        {
            self.change_site(site, Change::Crashed);
        }
        self.account_in_force();
    }

    /// Something changed at `site`, which the Internet hears bit by bit.
    pub(super) fn change_site(&mut self, site: SiteId, change: Change) {
        for (after, news) in self.internet.change(site, change) {
            self.schedule_act(self.now + after, Act::Hear(news));
        }
    }

    /// A population hears `news`.
    pub(super) fn hear(&mut self, news: &News) {
        if self.internet.hear(news) && news.standing != Standing::Announced {
            self.budget.withdrawn(self.now, news.site);
        }
    }

    /// The scenario wants something of the next table.
    pub(super) fn order(&mut self, object: &str, order: &Order) {
        let Some(steward) = &mut self.steward else {
            return self.instruct(object, order);
        };
        let refused = match steward.obey(order) {
            Ok(()) => self.publish().err(),
            Err(error) => Some(error.to_string()),
        };
        if let Some(why) = refused {
            self.budget.refused(self.now, object, &why);
        }
        self.set_alarm();
    }

    /// The steward looks what it believes by now.
    pub(super) fn look(&mut self) {
        let now = self.now;
        if self
            .steward
            .as_mut()
            .is_some_and(|steward| steward.look(now))
        {
            // Without a valid table the last one stays, and nodes fall back on their own.
            let _refused = self.publish();
        }
        self.set_alarm();
    }

    /// The table reaches a node, unless it is down or cut off, or has a later one.
    pub(super) fn table_reaches(&mut self, node: NodeId, table: Arc<RouteTable>) {
        let entry = &mut self.nodes[node.index()];
        if entry.down.is_some() || entry.stale || entry.revision >= Some(table.revision) {
            return;
        }
        entry.revision = Some(table.revision);
        entry.in_force = Some(Arc::clone(&table));
        let forwarder = &mut entry.forwarder;
        entry
            .ledger
            .apply(forwarder, self.now, table, &mut self.out);
        self.after_node(node.index());
    }

    /// The node is cut off from who writes the tables, or gets the newest again.
    pub(super) fn set_stale(&mut self, node: NodeId, stale: bool) {
        if self.control.is_some() {
            return self.cut_off(node, stale);
        }
        self.nodes[node.index()].stale = stale;
        if !stale {
            self.table_reaches(node, Arc::clone(&self.table));
        }
    }

    fn publish(&mut self) -> Result<(), String> {
        let now = self.now;
        let Some(steward) = &mut self.steward else {
            return Ok(());
        };
        let table = steward.publish(now).map_err(|error| error.to_string())?;
        let delay = steward.table_delay();
        self.table = Arc::clone(&table);
        for index in 0..self.nodes.len() {
            let node = self.nodes[index].id;
            let after = self.nodes[index].table_share.of(delay);
            self.schedule_act(now + after, Act::Table(node, Arc::clone(&table)));
        }
        Ok(())
    }

    fn set_alarm(&mut self) {
        let now = self.now;
        let due = self
            .steward
            .as_mut()
            .and_then(|steward: &mut Box<Steward>| steward.next_alarm(now));
        if let Some(at) = due {
            self.schedule_act(at, Act::Look);
        }
    }
}

/// Whether an event concerns more than the node that tells it.
pub(super) fn matters_to_others(event: &Event) -> bool {
    match event {
        Event::PeerState { .. }
        | Event::PathGrey { .. }
        | Event::Announcement { .. }
        | Event::Drains { .. }
        | Event::TargetHealth { .. }
        | Event::FlowTakenOver { .. }
        | Event::FlowMoved { .. } => true,
        Event::TableApplied(_)
        | Event::PathState { .. }
        | Event::AllTargetsAbnormal { .. }
        | Event::SynGate { .. }
        | Event::SlotsResynced { .. }
        | Event::SourceUntold { .. }
        | Event::FlowOpened { .. }
        | Event::FlowEstablished { .. }
        | Event::FlowClosed { .. } => false,
    }
}
