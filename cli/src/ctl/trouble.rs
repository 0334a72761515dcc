//! Why a command was not done, for people: the reason, a sentence, and what would help.
//!
//! What was refused, or asked wrongly, exits with 2; a controller that does not answer, and all else, with 3.

use std::fmt::Display;
use std::io::Write as _;

use anyedge_ccn::api::refusal_of;
use anyedge_ccn::table::refusal::{Code as TableCode, Reason, Refusal};
use serde_json::json;
use tonic::{Code, Status};

use crate::exit::Exit;

/// What went wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Trouble {
    pub(crate) exit: Exit,
    /// The refusal's reason, for machines.
    pub(crate) reason: Option<Reason>,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Trouble {
    /// Something that was asked wrongly.
    pub(crate) fn refused(message: impl Display, hint: &str) -> Trouble {
        Trouble {
            exit: Exit::BadInput,
            reason: None,
            message: message.to_string(),
            hint: Some(hint.to_owned()),
        }
    }

    /// Something that failed.
    pub(crate) fn failed(message: impl Display) -> Trouble {
        Trouble {
            exit: Exit::Internal,
            reason: None,
            message: message.to_string(),
            hint: None,
        }
    }

    /// The same with a hint, if it has none.
    pub(crate) fn or_hint(mut self, hint: &str) -> Trouble {
        self.hint.get_or_insert_with(|| hint.to_owned());
        self
    }

    /// Shows it on stderr, as JSON to those who want JSON.
    pub(crate) fn show(&self, as_json: bool) -> Exit {
        let mut stderr = std::io::stderr().lock();
        let reason = self.reason.map(Reason::name);
        let _ = if as_json {
            let (message, hint) = (&self.message, &self.hint);
            writeln!(
                stderr,
                "{}",
                json!({ "error": { "reason": reason, "message": message, "hint": hint } })
            )
        } else {
            let reason = reason.map_or_else(String::new, |reason| format!("{reason}: "));
            let hint = self.hint.as_ref();
            let hint = hint.map_or_else(String::new, |hint| format!("\n  hint: {hint}"));
            writeln!(stderr, "anyedge: {reason}{}{hint}", self.message)
        };
        self.exit
    }
}

impl From<Refusal> for Trouble {
    fn from(refusal: Refusal) -> Trouble {
        let is_passing = refusal.reason.code() == TableCode::Unavailable;
        Trouble {
            exit: if is_passing {
                Exit::Internal
            } else {
                Exit::BadInput
            },
            hint: hint(refusal.reason).map(str::to_owned),
            reason: Some(refusal.reason),
            message: refusal.message,
        }
    }
}

impl From<Status> for Trouble {
    fn from(status: Status) -> Trouble {
        if let Some(refusal) = refusal_of(&status) {
            return refusal.into();
        }
        let message = status.message();
        match status.code() {
            Code::Unavailable | Code::DeadlineExceeded => Trouble {
                hint: Some(
                    "is it running? `anyedge dev FILE` starts a group on this machine; one with certificates \
                     wants --cert, --key and --ca"
                        .to_owned(),
                ),
                ..Trouble::failed(format_args!("no controller answers: {message}"))
            },
            Code::Unauthenticated | Code::PermissionDenied => {
                Trouble::refused(message, certificate_hint(message))
            }
            Code::Unimplemented => Trouble::refused(
                format_args!("the controller cannot do that: {message}"),
                "it may be of another version",
            ),
            code => Trouble::failed(format_args!("{code}: {message}")),
        }
    }
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Trouble {
        Trouble::failed(error)
    }
}

/// What helps when one end does not know the other.
fn certificate_hint(message: &str) -> &'static str {
    if message.ends_with("our certificate: it has expired") {
        "have the authority issue another: --cert and --key name it"
    } else {
        "--cert, --key and --ca: an operator's certificate of the controllers' own authority"
    }
}

/// What helps where the sentence alone does not say.
fn hint(reason: Reason) -> Option<&'static str> {
    Some(match reason {
        Reason::Range => "nothing was changed; the sentence names the range",
        Reason::NoClb => "anyedge ctl get clb",
        Reason::NoListener => "anyedge ctl get listener",
        Reason::NoRule => "anyedge ctl get rule",
        Reason::NoRegion => "anyedge ctl get region",
        Reason::NoResource => "anyedge ctl get, then anyedge ctl get KIND, shows what there is",
        Reason::InUse => "remove or move first what refers to it",
        Reason::Revision => "somebody else changed it meanwhile: look again, then try again",
        Reason::Duplicate => "it is there already",
        Reason::NotLeader => {
            "no controller leads just now: try again; `anyedge ctl members` says who is there"
        }
        Reason::Limit => {
            "a quota is used up: `anyedge ctl get settings` shows those that are not as usual"
        }
        Reason::Insufficient => "there is none left for now: give some back, or try again later",
        Reason::Busy => "too much is under way: try again",
        Reason::PortTaken => "anyedge ctl get listener shows who has the port",
        Reason::Unauthorized => "an operator's certificate may: --cert, --key, --ca",
        _ => return None,
    })
}
