//! A node that follows controllers: the agent that the simulator's nodes run too, on this machine.
//!
//! It gives every whole table to the thread that makes route tables of them, and tells the leader what the forwarder
//! finds out. Controllers that are away change nothing: the last table stays in force.

use std::path::PathBuf;

use anyedge_ccn::agent::{Agent, AgentHandle, Config};
use anyedge_ccn::rpc::{ClientSecurity, Tls};
use anyedge_ccn::table::Table;
use anyhow::{Context, Result};
use tokio::runtime::{Builder, Runtime};

use super::NodeArgs;
use super::privileges;
use super::table_work::Slot;
use crate::controller::SERVER_NAME;
use crate::dataplane::clock::MonotonicClock;
use crate::entropy;
use crate::host::LiveHost;
use crate::lab::identities;
use crate::lab::refused::refuse;

/// The agent of a node, and what it runs on.
pub(super) struct Following {
    pub(super) agent: AgentHandle,
    /// Where tables go.
    pub(super) slot: Slot,
    tls: Option<(Tls, PathBuf)>,
    host: LiveHost,
    /// Ends with the process, and with it all tasks.
    _runtime: Runtime,
}

impl Following {
    /// Follows the controllers of `args` from `known` on; tables go to `slot`.
    pub(super) fn start(args: &NodeArgs, known: Table, slot: Slot) -> Result<Following> {
        let (host, runtime) = machine(&args.name)?;
        let tls = match &args.identity {
            Some(file) => {
                let identity = identities::read(file)?;
                let tls = Tls::new(&host, &identity);
                let tls = tls.with_context(|| format!("cannot use {}", file.display()))?;
                Some((tls, file.clone()))
            }
            None => None,
        };
        let security = match &tls {
            Some((tls, _)) => ClientSecurity::Tls {
                tls: tls.clone(),
                server: SERVER_NAME.to_owned(),
            },
            None => {
                let mut far = args.controllers.iter().filter(|at| !at.ip().is_loopback());
                if let Some(controller) = far.next() {
                    refuse!(
                        "{controller} is not on loopback: a node shows controllers its certificate, by --identity FILE"
                    );
                }
                ClientSecurity::Plain
            }
        };
        let mut config = Config::new(&args.name, args.controllers.clone(), security);
        config.begins_with = known;
        let tables = slot.clone();
        let agent = Agent::start(&host, config, move |table: &Table| {
            tables.put(table.clone())
        });
        Ok(Following {
            agent,
            slot,
            tls,
            host,
            _runtime: runtime,
        })
    }

    /// Reads the certificate again: connections from here on show the new one.
    ///
    /// # Errors
    /// When the file holds none; then the old one stays.
    pub(super) fn read_again(&self) -> Result<()> {
        let Some((tls, file)) = &self.tls else {
            return Ok(());
        };
        let identity = identities::read(file)?;
        let renewed = tls.renew(&self.host, &identity);
        renewed.with_context(|| format!("cannot use {}", file.display()))
    }
}

/// This machine under a node's name, with one thread for services that has no rights of its own.
pub(super) fn machine(name: &str) -> Result<(LiveHost, Runtime)> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .on_thread_start(privileges::drop_in_this_thread)
        .enable_all()
        .build()
        .context("cannot make a runtime for services")?;
    let handle = runtime.handle().clone();
    let host = LiveHost::new(name, MonotonicClock::start(), entropy::seed()?, handle);
    Ok((host, runtime))
}
