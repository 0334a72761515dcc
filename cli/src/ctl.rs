//! `anyedge ctl`: what operators say to the controllers, and what those answer.
//!
//! It decides nothing: rules stand where commands are applied, and a refusal is shown as it came, with what helps.

pub(crate) mod apply;
mod autoscaling;
mod balancer;
mod files;
mod kinds;
mod members;
mod object_json;
mod objects;
pub(crate) mod place;
mod plan;
mod security;
pub(crate) mod session;
pub(crate) mod show;
mod targets;
pub(crate) mod trouble;
mod watch;

use anyedge_live::controller::Security;
use anyedge_live::foreground::Foreground;
use anyedge_live::lab;

use crate::args::{CtlArgs, CtlCommand};
use crate::exit::Exit;
use apply::Wish;
use place::Place;
use session::Session;
use trouble::Trouble;

/// Runs one command.
pub(crate) fn run(args: &CtlArgs) -> Exit {
    let Some(lab) = &args.lab else {
        let place = Place::find(&args.server, &args.security);
        return answer(args, place.and_then(|place| talk(args, &place)));
    };
    let outcome = lab::within_reach(lab, |reach| {
        let place = Place {
            servers: reach.servers,
            security: Security::Tls(reach.certificates),
        };
        answer(args, talk(args, &place))
    });
    outcome.unwrap_or_else(|error| {
        let trouble = Trouble::refused(format_args!("{error:#}"), "anyedge lab status");
        trouble.show(args.json)
    })
}

fn answer(args: &CtlArgs, outcome: Result<(), Trouble>) -> Exit {
    match outcome {
        Ok(()) => Exit::Kept,
        Err(trouble) => trouble.show(args.json),
    }
}

fn talk(args: &CtlArgs, place: &Place) -> Result<(), Trouble> {
    let foreground = Foreground::new("ctl");
    let foreground = foreground.map_err(|error| Trouble::failed(format_args!("{error:#}")))?;
    let session = Session::new(foreground.host(), place, args.timeout)?;
    foreground.run(command(&session, args))
}

async fn command(session: &Session, args: &CtlArgs) -> Result<(), Trouble> {
    let json = args.json;
    match &args.command {
        CtlCommand::Apply {
            file,
            prune,
            dry_run,
        } => {
            let wish = Wish {
                prune: *prune,
                dry_run: *dry_run,
            };
            let topology = apply::load(file)?;
            let outcome = apply::apply(session, &topology, wish).await?;
            if json {
                return show::json(&outcome.json(wish));
            }
            show::print(&outcome.lines(wish))
        }
        CtlCommand::Get {
            kind: Some(kind),
            name: Some(name),
        } => objects::one(session, kind, name, json).await,
        CtlCommand::Get {
            kind: Some(kind), ..
        } => objects::list(session, kind, json).await,
        CtlCommand::Get { .. } => objects::count(session, json).await,
        CtlCommand::Clb { name } => balancer::show(session, name, json).await,
        CtlCommand::Targets { of } => targets::list(session, of.as_deref(), json).await,
        CtlCommand::Target(command) => targets::change(session, command, json).await,
        CtlCommand::Vip(command) => objects::vip(session, command, json).await,
        CtlCommand::SecurityGroup(command) => security::change(session, command, json).await,
        CtlCommand::Autoscaling(command) => autoscaling::change(session, command, json).await,
        CtlCommand::Drain { name, undo } => objects::drain(session, name, *undo, json).await,
        CtlCommand::Watch { from, count } => watch::watch(session, *from, *count, json).await,
        CtlCommand::Members { command } => members::members(session, command.as_ref(), json).await,
        CtlCommand::Leader(command) => members::leader(session, command, json).await,
        CtlCommand::Snapshot { file } => files::save(session, file, true, json).await,
        CtlCommand::Backup { file } => files::save(session, file, false, json).await,
        CtlCommand::Restore { file } => files::restore(session, file, json).await,
    }
}
