//! What a caller asked of a lab that cannot be: told apart from what went wrong on the way.
//!
//! The command exits with 2 for the one and with 3 for the other.

use std::error::Error;
use std::fmt;

/// The request makes no sense as things are; nothing was done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused(String);

impl Refused {
    /// A refusal for that reason.
    pub const fn because(reason: String) -> Refused {
        Refused(reason)
    }
}

/// Returns with a refusal, its reason formatted.
macro_rules! refuse {
    ($($reason:tt)*) => {
        return Err($crate::lab::refused::Refused::because(format!($($reason)*)).into())
    };
}
pub(crate) use refuse;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Refused {}
