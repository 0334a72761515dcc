//! Switches: each behaviour that docs/features.md lists can be turned off in a debug build, and then its test fails.
//!
//! A test that passes shows little; one that also fails without what it is about shows that it is about it. The code
//! that makes a row true asks its switch in one place. `ANYEDGE_OFF=S-BE04,P-LB02` turns two off, for the whole process
//! and from its beginning, so that a run stays a function of its inputs.
//!
//! Invariant: in a release build every switch is on and asking costs nothing.

#[cfg(debug_assertions)]
use std::sync::OnceLock;

/// The environment variable that names what is off, with commas between.
pub const VARIABLE: &str = "ANYEDGE_OFF";

/// Whether the behaviour of that name is on: always, but in a debug build that was told otherwise.
#[inline(always)]
pub fn is_on(name: &str) -> bool {
    #[cfg(debug_assertions)]
    return !off().iter().any(|one| one == name);
    #[cfg(not(debug_assertions))]
    {
        let _ = name;
        true
    }
}

#[cfg(debug_assertions)]
fn off() -> &'static [String] {
    static OFF: OnceLock<Vec<String>> = OnceLock::new();
    OFF.get_or_init(|| {
        let names = std::env::var(VARIABLE).unwrap_or_default();
        let names = names.split(',').map(str::trim);
        let named = names.filter(|name| !name.is_empty());
        named.map(str::to_owned).collect()
    })
}
