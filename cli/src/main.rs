//! The `anyedge` command: parses arguments, calls the world that was asked for, prints what it found.
//!
//! It knows both worlds, speaks with controllers, and decides nothing. Exit codes: 0 service levels kept, 1 one broken, 2 bad input,
//! 3 internal error.

mod args;
mod captures;
mod check;
mod compare;
mod completions;
mod controller;
mod ctl;
mod dev;
mod diff;
mod exit;
mod explain;
mod lab;
mod language;
mod lint;
mod load;
mod machines;
mod mistakes;
mod node;
mod plot;
mod results;
mod simulate;
mod sweep;
mod tables;

use std::panic;
use std::process::ExitCode;

use clap::Parser as _;

use args::{Args, Command};
use exit::Exit;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help and version come this way too; they are no mistakes.
            let exit = if error.use_stderr() {
                Exit::BadInput
            } else {
                Exit::Kept
            };
            let _ = error.print();
            return exit.into();
        }
    };
    let outcome = panic::catch_unwind(|| match args.command {
        Command::Sim(args) => simulate::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Lint(args) => lint::run(&args),
        Command::Fmt(args) => language::fmt(&args),
        Command::Schema(args) => language::schema(&args),
        Command::Import(command) => language::import(&command),
        Command::Diff(args) => diff::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Sweep(args) => sweep::run(&args),
        Command::Plot(args) => plot::run(&args),
        Command::Dev(args) => dev::run(&args),
        Command::Ctl(args) => ctl::run(&args),
        Command::Controller(args) => controller::run(args),
        Command::Lab(args) => lab::run(args),
        Command::Doctor(args) => machines::doctor(&args),
        Command::Bundle(args) => machines::bundle(&args),
        Command::Export(command) => machines::export(&command),
        Command::Node(args) => node::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Load(args) => load::run(&args),
        Command::Serve(args) => load::serve(&args),
        Command::Completions(args) => completions::run(&args),
    });
    // The panic's own message has been printed by the hook.
    outcome.unwrap_or(Exit::Internal).into()
}
