//! What every `Host` must do, written once and run in each world.
//!
//! A case is an async function over two machines that can reach each other; it returns what differed from
//! the contract of [`anyedge_net::host`], in words that are the same at every run. A world may differ only
//! where `docs/parity.md` says so, in those very words: [`parity`] reads that table.
//!
//! Cases wait by the hosts' own clocks: for events where one comes, and shortly where none may.

mod datagrams;
mod echoes;
mod endings;
mod files;
mod judge;
mod listening;
mod machine;
pub mod parity;
mod streams;

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;

use anyedge_net::host::Host;

/// Two machines that reach each other.
pub struct Pair<H> {
    /// The one that usually asks.
    pub a: H,
    /// The one that usually answers.
    pub b: H,
    /// An address of `a`'s own.
    pub a_address: IpAddr,
    /// An address of `b`'s own, of the same family.
    pub b_address: IpAddr,
    /// Where SYNs of `a` go and nothing comes back from.
    pub silent: SocketAddr,
    /// An address of the same family that is neither machine's.
    pub foreign: IpAddr,
}

/// What a case found: nothing, or what differed from the contract.
pub type Finding = Result<(), String>;

/// A case that runs.
pub type Run = Pin<Box<dyn Future<Output = Finding> + Send>>;

/// One promise of the contract, named after it.
pub struct Case<H> {
    /// A sentence.
    pub name: &'static str,
    /// Tries it.
    pub run: fn(Pair<H>) -> Run,
}

/// Cases by the modules that they are in, in their order; or of one's own module.
macro_rules! case_list {
    ($($file:ident: $($name:ident),+;)+) => {
        vec![$($($crate::conformance::Case {
            name: stringify!($name),
            run: |pair| Box::pin($file::$name(pair)),
        },)+)+]
    };
    ($($name:ident),+) => {
        vec![$($crate::conformance::Case {
            name: stringify!($name),
            run: |pair| Box::pin($name(pair)),
        },)+]
    };
}
pub(crate) use case_list;

/// Every case.
pub fn cases<H: Host>() -> Vec<Case<H>> {
    let mut cases = socket_cases();
    cases.extend(echoes::cases());
    cases.extend(machine_cases());
    cases
}

fn socket_cases<H: Host>() -> Vec<Case<H>> {
    case_list! {
        streams:
            bytes_arrive_intact_both_ways,
            a_closed_half_still_reads,
            a_reader_that_stops_makes_the_writer_wait,
            a_write_waits_while_too_much_is_unsent,
            two_hundred_connections_do_not_mix,
            the_chosen_local_port_is_what_the_other_end_sees,
            one_local_port_serves_two_remotes,
            a_host_reaches_its_own_address;
        endings:
            a_closed_port_refuses,
            a_silent_address_keeps_a_connect_waiting,
            an_aborted_stream_is_a_reset_to_the_other_end,
            what_came_before_a_reset_is_still_read,
            a_stream_dropped_with_unread_data_resets,
            a_stream_dropped_with_all_read_ends_by_fin,
            what_was_written_before_the_drop_arrives,
            both_ends_may_close_at_once,
            closing_twice_is_closing_once,
            writing_after_closing_is_a_broken_pipe,
            writing_to_an_end_that_is_gone_is_a_broken_pipe,
            a_reset_is_told_once;
        listening:
            a_full_backlog_makes_connects_wait_and_loses_none,
            a_cancelled_accept_loses_no_connection,
            connections_are_accepted_in_their_order,
            closing_a_listener_resets_who_waits,
            a_port_in_use_is_not_given_twice,
            a_port_is_free_for_a_listener_while_old_connections_end,
            any_port_is_another_port,
            an_address_of_nobody_is_not_available,
            a_wildcard_listener_tells_the_address_that_was_asked;
        datagrams:
            a_datagram_tells_its_ttl_tos_and_addresses,
            a_datagram_without_bytes_arrives,
            a_datagram_is_cut_to_the_buffer_and_tells_its_length,
            a_datagram_larger_than_a_packet_arrives,
            the_largest_datagram_arrives_and_a_larger_one_is_refused,
            a_closed_port_is_told_once_to_who_reads,
            a_closed_port_is_told_once_to_who_sends,
            an_unread_socket_loses_datagrams_silently,
            a_udp_port_in_use_is_not_given_twice,
            the_families_have_ports_of_their_own,
            a_peer_of_the_other_family_is_invalid;
    }
}

fn machine_cases<H: Host>() -> Vec<Case<H>> {
    case_list! {
        files:
            a_file_reads_as_it_was_written,
            reading_past_the_end_is_an_error,
            a_file_grows_with_zeros_and_is_cut,
            a_closed_file_is_opened_again_as_it_was,
            an_open_file_is_not_opened_twice,
            a_renamed_file_takes_the_place_of_another,
            a_removed_file_lives_until_it_is_closed,
            what_is_not_there_is_not_renamed_or_removed,
            a_name_cannot_leave_the_folder,
            each_machine_has_files_of_its_own,
            blocking_work_gives_its_result_while_others_go_on;
        machine:
            timers_fire_in_order_and_never_early,
            a_time_that_has_passed_is_no_wait,
            a_task_runs_beside_its_caller,
            randomness_starts_anew_at_every_call,
            two_hosts_draw_differently;
    }
}
