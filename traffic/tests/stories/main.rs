//! Stories of clients and backends on an in-memory network in virtual time.
//!
//! [`loopback`] is the smallest world that can host both ends: one executor, pipes with a delay, mailboxes,
//! and faults a test can ask for. What is shown here holds for any correct `Host`; that the simulator and
//! the kernel are such is shown elsewhere.

mod demo_backend;

mod long_flows;
mod loopback;
mod open_loop;
mod talk;
mod tick_answers;
