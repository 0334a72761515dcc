//! The command line of controllers, of those who speak with them, and of a whole group on this machine.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyedge_live::controller::{CertificateFiles, Security};
use clap::{Args, Subcommand};

use super::duration;

/// `anyedge controller`
#[derive(Args, Debug)]
#[command(after_help = "\
Example, one of three (the others say --id 2 and --id 3, each with a directory and an address of its own):
  anyedge controller --id 1 --data /var/lib/anyedge --listen 10.0.0.1:7000 \\
      --peers 1=10.0.0.1:7000,2=10.0.0.2:7000,3=10.0.0.3:7000 \\
      --cert controller.pem --key controller.key --ca ca.pem
A fourth, once `anyedge ctl members add 4=10.0.0.4:7000` was said:
  anyedge controller --id 4 --join --data /var/lib/anyedge --listen 10.0.0.4:7000 --peers 1=10.0.0.1:7000,.. ..
All on this machine, for a look: anyedge dev FILE

Ends at SIGTERM and SIGINT, after handing leadership over. Killed, it goes on by the same command.")]
pub(crate) struct ControllerArgs {
    /// The member's number, 1 or more; never used for another member before
    #[arg(long)]
    pub(crate) id: u64,
    /// Where its log lies: a directory of its own, which remembers the number
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// Where it listens, for members, nodes and operators
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: SocketAddr,
    /// Where the members are; those of a new group must all be told the same
    #[arg(long, value_name = "ID=ADDRESS:PORT,..", value_parser = peers)]
    pub(crate) peers: Peers,
    /// Joins a group that exists, and hears all from it
    #[arg(long)]
    pub(crate) join: bool,
    #[command(flatten)]
    pub(crate) security: SecurityArgs,
    /// Followers wait so long, or up to twice as long, for a leader; ten round trips between members at least
    #[arg(long, value_parser = duration, default_value = "1s", value_name = "TIME")]
    pub(crate) election_timeout: Duration,
    /// The table that all first members begin with, as a snapshot: `anyedge bundle` and `anyedge lab` write one
    #[arg(long, value_name = "FILE", conflicts_with = "join")]
    pub(crate) founding: Option<PathBuf>,
    /// A socket on which it says how it stands
    #[arg(long, value_name = "SOCKET")]
    pub(crate) ready: Option<PathBuf>,
    /// Also ends when standard input does
    #[arg(long, hide = true)]
    pub(crate) ends_with_stdin: bool,
}

/// Members by their numbers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Peers(pub(crate) BTreeMap<u64, SocketAddr>);

/// How the other end is known.
#[derive(Args, Clone, Debug)]
pub(crate) struct SecurityArgs {
    /// Own certificate, PEM
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        requires_all = ["key", "ca"],
        conflicts_with = "plain"
    )]
    pub(crate) cert: Option<PathBuf>,
    /// The key to it, PEM
    #[arg(long, global = true, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// The certificate of the authority that both ends trust, PEM
    #[arg(long, global = true, value_name = "FILE", requires = "cert")]
    pub(crate) ca: Option<PathBuf>,
    /// No certificates: anybody may do anything; on loopback alone
    #[arg(long, global = true)]
    pub(crate) plain: bool,
}

impl SecurityArgs {
    /// What the flags say; `None` when they say nothing.
    pub(crate) fn named(&self) -> Option<Security> {
        if self.plain {
            return Some(Security::Plain);
        }
        Some(Security::Tls(CertificateFiles {
            certificate: self.cert.clone()?,
            key: self.key.clone()?,
            authority: self.ca.clone()?,
        }))
    }
}

/// `anyedge dev`
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  anyedge dev topologies/two-pops.toml        in one terminal; Ctrl-C ends it
  anyedge ctl targets                         in another, in the same folder

The controllers are processes of their own: kill -9 one, and see who leads next; it is started again.")]
pub(crate) struct DevArgs {
    /// The topology file
    pub(crate) file: PathBuf,
    /// Keeps the controllers' data here [default: in .anyedge, removed at the end]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

/// `anyedge ctl`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  anyedge ctl apply topologies/two-pops.toml                      the table becomes what the file says; again: no change
  anyedge ctl targets
  anyedge ctl target set gz-main/web/10.0.0.12:8080 --weight 20
  anyedge ctl target bind gz-main/web/10.0.0.13 gz-main/web/10.0.0.14 --port 8080
  anyedge ctl drain pop.tokyo
  anyedge ctl get listener gz-main/web --json
  anyedge ctl watch
  anyedge ctl --lab lab target set gz-main/web/10.0.0.12:8080 --weight 0     in a lab that `anyedge lab up` made

Asks --server, else ANYEDGE_SERVER, else what .anyedge of the current folder names. Certificates: --cert, --key and
--ca, else ANYEDGE_CERT, ANYEDGE_KEY and ANYEDGE_CA, else those of .anyedge, else none.
Exit codes: 0 done, 2 refused or bad input, 3 nobody answered or something failed.")]
pub(crate) struct CtlArgs {
    /// A controller, whichever; more than one in case one is away
    #[arg(
        long,
        global = true,
        value_name = "ADDRESS:PORT",
        value_delimiter = ','
    )]
    pub(crate) server: Vec<String>,
    /// The controllers of a lab on this machine (root)
    #[arg(long, global = true, value_name = "NAME", conflicts_with = "server")]
    pub(crate) lab: Option<String>,
    #[command(flatten)]
    pub(crate) security: SecurityArgs,
    /// How long to try
    #[arg(long, global = true, value_parser = duration, default_value = "10s", value_name = "TIME")]
    pub(crate) timeout: Duration,
    /// As JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: CtlCommand,
}

#[derive(Subcommand, Debug)]
pub(crate) enum CtlCommand {
    /// Makes the table what a topology file says, all of it or nothing, and shows what that changed
    Apply {
        /// The topology file
        file: PathBuf,
        /// Also removes regions, nodes, paths, load balancers, targets and VIPs that the file does not have
        #[arg(long)]
        prune: bool,
        /// Shows what would change, and changes nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Shows objects: how many of each kind, all of a kind, or one
    Get {
        /// region, pop, clb-node, host, path, clb, listener, rule, target, vip, settings, ..
        kind: Option<String>,
        /// Its name, such as gz-main/web
        name: Option<String>,
    },
    /// Shows a load balancer with all that it is: its kind, VIPs, listeners, SNAT addresses
    Clb {
        /// Its name, such as gz-main
        name: String,
    },
    /// Lists targets with their network, weight and health
    Targets {
        /// Only those of a load balancer or listener: gz-main, gz-main/web
        of: Option<String>,
    },
    /// Changes a target
    #[command(subcommand)]
    Target(TargetCommand),
    /// Changes where a VIP is announced
    #[command(subcommand)]
    Vip(VipCommand),
    /// Changes security groups, and who has them
    #[command(subcommand)]
    SecurityGroup(SecurityGroupCommand),
    /// Changes groups of servers that come and go, and who is in them
    #[command(subcommand)]
    Autoscaling(AutoscalingCommand),
    /// Empties a POP, a CLB node or a path, or takes it back
    Drain {
        /// pop.tokyo, region.guangzhou.clb-1, or a path such as tokyo-guangzhou
        name: String,
        /// Takes it back
        #[arg(long)]
        undo: bool,
    },
    /// Tells every change as it happens
    Watch {
        /// The first revision wanted [default: the next]
        #[arg(long, value_name = "REVISION")]
        from: Option<u64>,
        /// Ends after so many
        #[arg(long, value_name = "N")]
        count: Option<u64>,
    },
    /// Lists the controllers, adds one, or removes one
    Members {
        #[command(subcommand)]
        command: Option<MembersCommand>,
    },
    /// Hands leadership over
    #[command(subcommand)]
    Leader(LeaderCommand),
    /// Writes the table to a file, secrets and all: keep it as you keep keys
    Snapshot {
        /// The file
        file: PathBuf,
    },
    /// Writes the table to a file, without secrets
    Backup {
        /// The file
        file: PathBuf,
    },
    /// Makes the table what a backup or a snapshot says
    Restore {
        /// The file
        file: PathBuf,
    },
}

#[derive(Subcommand, Debug)]
pub(crate) enum TargetCommand {
    /// Gives targets another weight: their share of new flows
    Set {
        /// CLB/LISTENER/IP:PORT, such as gz-main/web/10.0.0.12:8080; several get the same weight
        #[arg(required = true)]
        targets: Vec<String>,
        /// 0 to 100; 0 takes no new flows
        #[arg(long, allow_negative_numbers = true)]
        weight: i32,
    },
    /// Gives targets another port, all the same
    Move {
        /// CLB/LISTENER/IP:PORT
        #[arg(required = true)]
        targets: Vec<String>,
        /// 1 to 65535
        #[arg(long)]
        port: u16,
    },
    /// Adds targets to a listener
    Bind {
        /// CLB/LISTENER/IP:PORT, or CLB/LISTENER/IP with --port
        #[arg(required = true)]
        targets: Vec<String>,
        /// The port of those that name none
        #[arg(long)]
        port: Option<u16>,
        /// 0 to 100 [default: 10]
        #[arg(long, allow_negative_numbers = true)]
        weight: Option<i32>,
        /// The host that has the address, such as host.web-1 [default: that of another target with this address]
        #[arg(long)]
        host: Option<String>,
    },
    /// Takes targets from their listener
    Unbind {
        /// CLB/LISTENER/IP:PORT
        #[arg(required = true)]
        targets: Vec<String>,
    },
}

#[derive(Subcommand, Debug)]
pub(crate) enum SecurityGroupCommand {
    /// Makes a group have these rules, in this order, and no others
    Set {
        /// Its name
        group: String,
        /// A rule inward: "203.0.113.0/24+8080 allow", "any+icmp accept", "any drop"
        #[arg(long, value_name = "RULE")]
        ingress: Vec<String>,
        /// A rule outward
        #[arg(long, value_name = "RULE")]
        egress: Vec<String>,
    },
    /// Removes a group that nobody has
    Remove {
        /// Its name
        group: String,
    },
    /// Gives a load balancer or a host these groups, in this order, and no others; without any, everybody may reach it
    Bind {
        /// clb.gz-main or host.web-1
        object: String,
        /// Their names
        groups: Vec<String>,
    },
}

#[derive(Subcommand, Debug)]
pub(crate) enum AutoscalingCommand {
    /// Makes a group without servers
    Create {
        /// Its name
        group: String,
        /// CLB/LISTENER, or CLB/LISTENER/RULE, that its servers become targets of
        #[arg(required = true)]
        listeners: Vec<String>,
        /// The port of its servers
        #[arg(long)]
        port: u16,
        /// 0 to 100 [default: 10]
        #[arg(long, allow_negative_numbers = true)]
        weight: Option<i32>,
    },
    /// Servers join a group, and with that its listeners
    Out {
        /// The group
        group: String,
        /// Their addresses
        #[arg(required = true)]
        servers: Vec<IpAddr>,
        /// The host that has them, such as host.web-3
        #[arg(long)]
        host: String,
    },
    /// Servers leave a group, and with that its listeners
    In {
        /// The group
        group: String,
        /// Their addresses
        #[arg(required = true)]
        servers: Vec<IpAddr>,
    },
    /// Removes a group; its servers leave its listeners
    Remove {
        /// Its name
        group: String,
    },
}

#[derive(Subcommand, Debug)]
pub(crate) enum VipCommand {
    /// Has a VIP announced, at the POPs that it has or at others
    Publish {
        /// The VIP
        vip: String,
        /// The POPs from now on: pop.tokyo,pop.frankfurt [default: as before]
        #[arg(long, value_delimiter = ',')]
        at: Vec<String>,
    },
    /// Has a VIP announced nowhere
    Withdraw {
        /// The VIP
        vip: String,
    },
}

#[derive(Subcommand, Debug)]
pub(crate) enum MembersCommand {
    /// Adds a controller that runs already, with --join
    Add {
        /// Such as 4=10.0.0.4:7000
        #[arg(value_name = "ID=ADDRESS:PORT", value_parser = member)]
        member: (u64, SocketAddr),
    },
    /// Removes a controller; its number is never used again
    Remove {
        /// Its number
        id: u64,
    },
}

#[derive(Subcommand, Debug)]
pub(crate) enum LeaderCommand {
    /// Has another controller lead
    Transfer {
        /// Its number
        id: u64,
    },
}

fn peers(text: &str) -> Result<Peers, String> {
    let mut found = BTreeMap::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (id, address) = member(part)?;
        if found.insert(id, address).is_some() {
            return Err(format!("member {id} is there twice"));
        }
    }
    Ok(Peers(found))
}

fn member(text: &str) -> Result<(u64, SocketAddr), String> {
    let wrong = || format!("`{text}` is none: such as 1=10.0.0.1:7000");
    let (id, address) = text.split_once('=').ok_or_else(wrong)?;
    let id = id.trim().parse::<u64>().map_err(|_| wrong())?;
    let address = address.trim().parse().map_err(|_| wrong())?;
    if id == 0 {
        return Err("members are numbered from 1 on".to_owned());
    }
    Ok((id, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_read_as_they_are_written() {
        let read = peers("1=127.0.0.1:7001, 2=[::1]:7002").expect("they are sound");
        let address = |text: &str| text.parse::<SocketAddr>().expect("it is one");
        let expected = [(1, address("127.0.0.1:7001")), (2, address("[::1]:7002"))];
        assert_eq!(read, Peers(expected.into()));
        for wrong in ["1", "a=127.0.0.1:1", "1=127.0.0.1", "0=127.0.0.1:1"] {
            assert!(peers(wrong).is_err(), "{wrong}");
        }
        let twice = peers("1=127.0.0.1:1,1=127.0.0.1:2").expect_err("it is there twice");
        assert!(twice.contains("twice"));
    }
}
