//! `anyedge completions`: a script that makes a shell complete this command's words.
//!
//! It is made in memory first: what makes it panics when its reader is gone.

use clap::CommandFactory as _;

use crate::args::{Args, CompletionsArgs};
use crate::exit::Exit;
use crate::language::on_stdout;

pub(crate) fn run(args: &CompletionsArgs) -> Exit {
    let mut command = Args::command();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "anyedge", &mut script);
    on_stdout(&script)
}
