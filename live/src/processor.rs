//! How soon a thread is given the processor when it has something to do.
//!
//! By default a thread that wakes may wait for the turns of others, 3 ms and more each where two processors are shared by a
//! lab. Packets wait with it. A thread can ask for short turns: it gets the same share in smaller pieces, hence sooner.
//! Or it can come first altogether, which is for those that use little. References: sched(7), sched_setattr(2); turns of
//! one's own are Linux 6.12.

use std::io::{Error, Result};
use std::mem::{size_of, zeroed};
use std::time::Duration;

use nix::libc;

/// A turn: as short as the kernel takes.
const TURN: Duration = Duration::from_micros(100);

/// Asks for short turns for the calling thread. A kernel that knows none goes on as before.
pub fn take_short_turns() {
    if let Err(error) = ask_for_turns(TURN) {
        tracing::debug!("no short turns on the processor: {error}");
    }
}

fn ask_for_turns(turn: Duration) -> Result<()> {
    let mut asked = own_attributes()?;
    if asked.sched_policy == libc::SCHED_OTHER as u32 {
        asked.sched_runtime = turn.as_nanos() as u64;
        give_attributes(&asked)?;
    }
    Ok(())
}

#[expect(unsafe_code, reason = "no safe crate makes this call")]
fn own_attributes() -> Result<libc::sched_attr> {
    let len = size_of::<libc::sched_attr>() as u32;
    // SAFETY: a plain structure of the kernel's, for which all zeros is valid.
    let mut told: libc::sched_attr = unsafe { zeroed() };
    // SAFETY: the kernel fills in at most `len` bytes of the structure; 0 is the calling thread.
    let code = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut told, len, 0) };
    outcome(code == 0).map(|()| told)
}

#[expect(unsafe_code, reason = "no safe crate makes this call")]
fn give_attributes(asked: &libc::sched_attr) -> Result<()> {
    // SAFETY: the kernel reads the structure, of the size that it says, during the call; 0 is the calling thread.
    let code = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, std::ptr::from_ref(asked), 0) };
    outcome(code == 0)
}

/// Has the calling thread run as soon as it has something to do, before all ordinary ones.
///
/// # Errors
/// When the process may not (`CAP_SYS_NICE`).
#[expect(unsafe_code, reason = "no safe crate makes this call")]
pub fn come_first() -> Result<()> {
    let lowest = libc::sched_param { sched_priority: 1 };
    // SAFETY: the kernel reads the structure during the call; 0 is the calling thread.
    let code = unsafe { libc::sched_setscheduler(0, libc::SCHED_RR, &raw const lowest) };
    outcome(code == 0)
}

fn outcome(done: bool) -> Result<()> {
    if done {
        Ok(())
    } else {
        Err(Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
    fn a_thread_that_asked_for_short_turns_has_them_and_its_ordinary_policy() {
        let thread = std::thread::spawn(|| {
            let before = own_attributes();
            take_short_turns();
            Ok::<_, Error>((before?, own_attributes()?))
        });
        let looked = thread.join().expect("it does not panic");
        let (before, after) = looked.expect("a thread may look at its own attributes");
        let kept = |of: &libc::sched_attr| (of.sched_policy, of.sched_nice);
        assert_eq!(kept(&before), kept(&after));
        if before.sched_runtime == 0 {
            eprintln!("SKIPPED: this kernel knows no turns of a thread's own");
            return;
        }
        assert_eq!(u128::from(after.sched_runtime), TURN.as_nanos());
    }
}
