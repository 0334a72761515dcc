//! `anyedge completions`: a script that makes a shell complete this command's words.

use std::io;

use clap::CommandFactory as _;

use crate::args::{Args, CompletionsArgs};
use crate::exit::Exit;

pub(crate) fn run(args: &CompletionsArgs) -> Exit {
    let mut command = Args::command();
    clap_complete::generate(args.shell, &mut command, "anyedge", &mut io::stdout());
    Exit::Kept
}
