//! The keeper: what the leader of the controllers does by itself, beside what it is asked.
//!
//! [`TableTime`] is the time that it stamps into commands. See docs/controller.md.

mod table_time;

pub use table_time::TableTime;
