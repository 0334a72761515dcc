//! Exit codes, the same for every command.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Exit {
    /// Done; all service levels kept.
    Kept,
    /// Done; a service level was broken, or something was found.
    Broken,
    /// The input was wrong.
    BadInput,
    /// The tool or the machine failed.
    Internal,
    /// Another command's own code, passed on.
    Passed(u8),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Kept => 0,
            Exit::Broken => 1,
            Exit::BadInput => 2,
            Exit::Internal => 3,
            Exit::Passed(code) => code,
        })
    }
}
