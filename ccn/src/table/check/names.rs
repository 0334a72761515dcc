//! Names and secrets: what they may look like.

use super::super::object::{Key, Secret};
use super::super::refusal::{Reason, Refusal};

/// Characters of a name.
const NAME_MAX: usize = 80;

/// A name is 1 to 80 lowercase letters, digits, `-`, `.` and `_`.
pub(super) fn check_name(key: &Key, own: &str) -> Result<(), Refusal> {
    if own.is_empty() || own.len() > NAME_MAX {
        return Err(Reason::Length.because(format_args!(
            "the name of {key} has {} characters; 1 to {NAME_MAX} are allowed",
            own.len()
        )));
    }
    let fits =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte);
    if !own.bytes().all(fits) {
        return Err(Reason::Format.because(format_args!(
            "`{}` is no name: lowercase letters, digits, `-`, `.` and `_` make one",
            own.escape_debug()
        )));
    }
    Ok(())
}

pub(super) fn check_secret(secret: &Secret) -> Result<(), Refusal> {
    let length = secret.value.len();
    let fits = if secret.name == Secret::SLOT_HASH_KEY {
        length == 16
    } else {
        (16..=64).contains(&length)
    };
    if !fits {
        return Err(Reason::Length.because(format_args!(
            "secret `{}` has {length} bytes; the slot hash key has 16, others have 16 to 64",
            secret.name
        )));
    }
    Ok(())
}
