//! A link of the world: the [model](anyedge_net::link), with the source of its events.

use crate::order::Source;

pub(crate) use anyedge_net::link::{LinkSpec, Losses, Wear};

/// One direction of a link.
pub(crate) type Link = anyedge_net::link::Link<Source>;
