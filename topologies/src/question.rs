//! A question about one flow: which client, to which VIP and listener, when.
//!
//! Asked in words as people use them: `osaka` or `client.osaka/3` for who, `game:web`, `game:80` or `203.0.113.10:80` for
//! where to. What is unknown is answered with the nearest right name.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::clb::{Listener, Protocol};
use crate::client::Client;
use crate::diagnostic::Wrong;
use crate::names::Kind;
use crate::nearest;
use crate::topology::Topology;
use crate::vip::Vip;

/// The source port of a question that names none: below those that hosts choose themselves.
pub const SOURCE_PORT: u16 = 20_000;

/// A flow that somebody asks about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The population's bare name.
    pub client: String,
    /// Which of its hosts, from 0.
    pub host: u32,
    /// The host's address and the flow's source port.
    pub from: SocketAddr,
    /// VIP and listener, such as `game:web`.
    pub name: String,
    /// The VIP's address and the listener's port.
    pub to: SocketAddr,
    /// The listener's protocol.
    pub protocol: Protocol,
    /// When it starts.
    pub at: Duration,
}

impl Topology {
    /// The flow that `from` starts to `to` at `at`.
    ///
    /// # Errors
    /// What is wrong with the words, and the nearest right ones.
    pub fn question(
        &self,
        from: &str,
        to: &str,
        at: Duration,
        source_port: u16,
    ) -> Result<Question, Wrong> {
        let (client, host) = self.asked_client(from)?;
        let (vip, address, wanted) = self.asked_vip(to)?;
        let listener = self.asked_listener(vip, wanted)?;
        let Asked { client, host } = self.with_family(client, host, vip, address, from)?;
        let own = client.address(host);
        let v6 = client.uses_v6(host);
        let source = if v6 {
            IpAddr::V6(own.1)
        } else {
            IpAddr::V4(own.0)
        };
        let vip_address = match v6 {
            true => vip.address.v6.map(IpAddr::V6),
            false => vip.address.v4.map(IpAddr::V4),
        };
        let vip_address = vip_address.ok_or_else(|| no_common_family(client, vip))?;
        Ok(Question {
            client: client.name.clone(),
            host,
            from: SocketAddr::new(source, source_port),
            name: format!("{}:{}", vip.name, listener.name),
            to: SocketAddr::new(vip_address, listener.port),
            protocol: listener.protocol,
            at,
        })
    }

    /// `osaka`, `client.osaka` or `osaka/3`.
    fn asked_client(&self, text: &str) -> Result<(&Client, Option<u32>), Wrong> {
        let bare = text.strip_prefix("client.").unwrap_or(text);
        let (name, host) = match bare.split_once('/') {
            Some((name, host)) => (name, Some(host)),
            None => (bare, None),
        };
        let client = self.clients.get(name).ok_or_else(|| {
            let names = self.clients.keys().map(String::as_str);
            let reason = format!("there is no client \"{name}\"");
            Wrong::new(reason, nearest::did_you_mean(name, names))
        })?;
        let Some(host) = host else {
            return Ok((client, None));
        };
        match host.parse::<u32>() {
            Ok(number) if (1..=client.count).contains(&number) => Ok((client, Some(number - 1))),
            _ => Err(Wrong::new(
                format!("client.{name} has no host \"{host}\""),
                format!("{name}/1 to {name}/{}", client.count),
            )),
        }
    }

    /// The VIP by name or address, its address if it was given, and what listener is wanted.
    fn asked_vip<'q>(&self, text: &'q str) -> Result<(&Vip, Option<IpAddr>, &'q str), Wrong> {
        let unclear = || {
            let reason = format!("\"{text}\" is no VIP and port");
            Wrong::new(
                reason,
                "such as \"game:web\", \"game:80\" or \"203.0.113.10:80\"",
            )
        };
        let text = text.strip_prefix("vip.").unwrap_or(text);
        let (vip, wanted) = text.rsplit_once(':').ok_or_else(unclear)?;
        let bare = vip.strip_prefix('[').and_then(|own| own.strip_suffix(']'));
        if let Ok(address) = bare.unwrap_or(vip).parse::<IpAddr>() {
            let mut vips = self.vips.values();
            let found = vips.find(|own| own.address.iter().any(|of| of == address));
            let vip = found.ok_or_else(|| {
                let all = self.vips.values().flat_map(|own| own.address.iter());
                let all: Vec<String> = all.map(|address| address.to_string()).collect();
                let near = nearest::did_you_mean(vip, all.iter().map(String::as_str));
                Wrong::new(format!("no VIP has the address {address}"), near)
            })?;
            return Ok((vip, Some(address), wanted));
        }
        let found = self.vips.get(vip).ok_or_else(|| {
            let names = self.vips.keys().map(String::as_str);
            let reason = format!("there is no VIP \"{vip}\"");
            Wrong::new(reason, nearest::did_you_mean(vip, names))
        })?;
        Ok((found, None, wanted))
    }

    /// A listener of a VIP by its name, its port, or `53/udp`.
    fn asked_listener(&self, vip: &Vip, wanted: &str) -> Result<&Listener, Wrong> {
        let listeners = &self.clbs[&vip.clb].listeners;
        let (port, protocol) = wanted.split_once('/').unwrap_or((wanted, ""));
        let is_it = |own: &&Listener| {
            let fits = protocol.is_empty() || own.protocol.to_string() == protocol;
            port.parse() == Ok(own.port) && fits
        };
        let by_port: Vec<&Listener> = listeners.values().filter(is_it).collect();
        match (listeners.get(wanted), by_port.as_slice()) {
            (Some(listener), _) => Ok(listener),
            (None, [listener]) => Ok(*listener),
            (None, [_, ..]) => Err(Wrong::new(
                format!("{}:{port} is both tcp and udp", vip.name),
                format!("{port}/tcp or {port}/udp"),
            )),
            (None, []) => {
                let all = listeners.values();
                let all: Vec<String> = all
                    .flat_map(|own| [own.name.clone(), own.port.to_string()])
                    .collect();
                let near = nearest::did_you_mean(wanted, all.iter().map(String::as_str));
                let reason = format!("vip.{} has no listener \"{wanted}\"", vip.name);
                Err(Wrong::new(reason, near))
            }
        }
    }

    /// The first host of a population that can speak with the VIP, if none was named.
    fn with_family<'t>(
        &self,
        client: &'t Client,
        host: Option<u32>,
        vip: &Vip,
        address: Option<IpAddr>,
        from: &str,
    ) -> Result<Asked<'t>, Wrong> {
        let speaks = |index: u32| match (client.uses_v6(index), address) {
            (true, Some(address)) => address.is_ipv6(),
            (false, Some(address)) => address.is_ipv4(),
            (true, None) => vip.address.v6.is_some(),
            (false, None) => vip.address.v4.is_some(),
        };
        match host {
            Some(host) if speaks(host) => Ok(Asked { client, host }),
            Some(_) => {
                let wrong = no_common_family(client, vip);
                let reason = format!("\"{from}\" and vip.{} speak no common IP version", vip.name);
                Err(Wrong { reason, ..wrong })
            }
            None => {
                let host = (0..client.count.min(2)).find(|index| speaks(*index));
                let host = host.ok_or_else(|| no_common_family(client, vip))?;
                Ok(Asked { client, host })
            }
        }
    }
}

struct Asked<'t> {
    client: &'t Client,
    host: u32,
}

fn no_common_family(client: &Client, vip: &Vip) -> Wrong {
    let addresses: Vec<String> = vip.address.iter().map(|own| own.to_string()).collect();
    let own = Kind::Client.object(&client.name);
    Wrong::new(
        format!("{own} and vip.{} speak no common IP version", vip.name),
        format!("vip.{} has {}", vip.name, addresses.join(" and ")),
    )
}
