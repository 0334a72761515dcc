//! `anyedge controller`: one member of the group, until it is asked to end.

use anyedge_live::controller;
use anyedge_live::lab::refused::Refused;

use crate::args::ControllerArgs;
use crate::exit::Exit;
use crate::mistakes;

pub(crate) fn run(args: ControllerArgs) -> Exit {
    let Some(security) = args.security.named() else {
        mistakes::complain(
            "a controller needs --cert, --key and --ca; --plain does without, on loopback alone",
        );
        return Exit::BadInput;
    };
    let args = controller::ControllerArgs {
        id: args.id,
        data: args.data,
        listen: args.listen,
        peers: args.peers.0,
        joins: args.join,
        security,
        election_timeout: args.election_timeout,
        founding: args.founding,
        ready: args.ready,
        ends_with_stdin: args.ends_with_stdin,
    };
    match controller::run(args) {
        Ok(()) => Exit::Kept,
        Err(error) => {
            mistakes::complain(&format!("{error:#}"));
            if error.chain().any(|cause| cause.is::<Refused>()) {
                Exit::BadInput
            } else {
                Exit::Internal
            }
        }
    }
}
