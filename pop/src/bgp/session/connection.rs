//! One TCP connection of a session, from its OPEN on.

use core::time::Duration;

use anyedge_net::time::Instant;

use super::{OPEN_HOLD, SEND_HOLD_MIN, Side, State};
use crate::bgp::frame::Frames;
use crate::bgp::open::Open;

/// How far a connection has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Progress {
    OpenSent,
    OpenConfirm,
    Established,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) number: u32,
    pub(super) side: Side,
    pub(super) progress: Progress,
    pub(super) frames: Frames,
    /// The peer's OPEN, from OpenConfirm on.
    pub(super) peer: Option<Open>,
    /// As agreed; zero for none.
    pub(super) hold: Duration,
    pub(super) hold_at: Option<Instant>,
    pub(super) keepalive_at: Option<Instant>,
    /// Bytes that were given to send and have not left.
    pub(super) unsent: usize,
    /// When some of them left last, or the first of them came.
    pub(super) moved_at: Instant,
}

impl Connection {
    pub(super) fn new(number: u32, side: Side, now: Instant) -> Connection {
        Connection {
            number,
            side,
            progress: Progress::OpenSent,
            frames: Frames::default(),
            peer: None,
            hold: Duration::ZERO,
            hold_at: Some(now + OPEN_HOLD),
            keepalive_at: None,
            unsent: 0,
            moved_at: now,
        }
    }

    pub(super) const fn state(&self) -> State {
        match self.progress {
            Progress::OpenSent => State::OpenSent,
            Progress::OpenConfirm => State::OpenConfirm,
            Progress::Established => State::Established,
        }
    }

    /// The peer was heard.
    pub(super) fn hear(&mut self, now: Instant) {
        self.hold_at = (!self.hold.is_zero()).then_some(now + self.hold);
    }

    /// When a peer that takes nothing has taken nothing for too long (RFC 9687).
    pub(super) fn send_hold_at(&self) -> Option<Instant> {
        let patience = SEND_HOLD_MIN.max(self.hold * 2);
        (self.unsent > 0).then_some(self.moved_at + patience)
    }
}
