//! `anyedge dev`: three controllers on this machine with a topology applied, until Ctrl-C; nothing to install.
//!
//! They are what `anyedge controller` is elsewhere, with mutual TLS of an authority made for the occasion.

mod folder;
mod group;

use std::path::Path;
use std::time::Duration;

use anyedge_live::controller::Security;
use anyedge_live::foreground::{Foreground, asked_to_end};
use anyedge_live::host::LiveHost;
use anyedge_net::host::Host as _;
use anyedge_topologies::Topology;
use futures_util::future::{Either, pending, select};

use crate::args::DevArgs;
use crate::ctl::apply::{self, Wish};
use crate::ctl::place::Place;
use crate::ctl::session::Session;
use crate::ctl::show;
use crate::ctl::trouble::Trouble;
use crate::exit::Exit;
use folder::Folder;
use group::Group;

/// For the first election and the topology.
const START_MAX: Duration = Duration::from_secs(30);
const HINT: &str = "In another terminal, in this folder:
  anyedge ctl targets
  anyedge ctl watch
Ctrl-C ends all.
";
/// Between two looks at the processes.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Runs the group until it is asked to end.
pub(crate) fn run(args: &DevArgs) -> Exit {
    match start(args) {
        Ok(()) => Exit::Kept,
        Err(trouble) => trouble.show(false),
    }
}

fn start(args: &DevArgs) -> Result<(), Trouble> {
    let topology = apply::load(&args.file)?;
    let foreground = Foreground::new("dev");
    let foreground = foreground.map_err(|error| Trouble::failed(format_args!("{error:#}")))?;
    let host = foreground.host().clone();
    foreground.run(work(host, &topology, args.data.as_deref()))
}

async fn work(host: LiveHost, topology: &Topology, data: Option<&Path>) -> Result<(), Trouble> {
    let asked = asked_to_end().map_err(|error| Trouble::failed(format_args!("{error:#}")))?;
    // Ends last: the processes still write into it.
    let folder = Folder::make()?;
    let certificates = folder.issue(&host)?;
    let data = data.map_or_else(|| folder.data(), Path::to_owned);
    let mut group = Group::start(&data, certificates.controller)?;
    let place = Place {
        servers: group.addresses().collect(),
        security: Security::Tls(certificates.operator),
    };
    let members = told(&group);
    let serving = async {
        let session = Session::new(&host, &place, START_MAX)?;
        let outcome = apply::apply(&session, topology, Wish::default()).await?;
        let servers: Vec<String> = place.servers.iter().map(ToString::to_string).collect();
        folder.announce(&servers)?;
        let revision = outcome.revision;
        show::print(&format!(
            "{members}revision {revision} is what the file says. {HINT}"
        ))?;
        pending::<Result<(), Trouble>>().await
    };
    let tending = async {
        loop {
            group.tend()?;
            host.sleep_until(host.now() + LOOK_EVERY).await;
        }
    };
    let (asked, tending, serving) = (
        std::pin::pin!(asked),
        std::pin::pin!(tending),
        std::pin::pin!(serving),
    );
    match select(asked, select(tending, serving)).await {
        Either::Left(_) => Ok(()),
        Either::Right((ended, _)) => ended.factor_first().0,
    }
}

fn told(group: &Group) -> String {
    let members = group.members();
    let line = |(id, address, process)| format!("controller.{id}  {address}  process {process}\n");
    members.map(line).collect()
}
