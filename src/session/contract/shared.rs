//! The promises of two openings of the same data, for stores that several processes share.

use super::{Part, Promise, Stores, promises};

promises! {
    ($)
    /// What every store promises that implements these parts, and that several processes share.
    PROMISES: shared, Stores;

    /// Sessions that are made at one and found at the other.
    sessions Sessions __shared_store_contract_sessions {
        shared:
            what_one_does_the_other_sees,
            whose_a_thread_is_is_seen_at_both,
            creates_at_both_stop_at_the_limit,
            numbers_are_given_once_at_both,
            the_signing_key_is_one;
    }

    /// Runs at both.
    runs Runs __shared_store_contract_runs {
        shared:
            first_runs_at_both_make_one_lease,
            a_session_created_with_a_run_is_busy_at_the_other,
            a_session_that_was_taken_over_at_the_other_stays,
            a_first_run_is_that_of_where_it_began,
            of_many_bindings_at_both_one_is_done,
            a_session_is_deleted_at_one_or_run_at_the_other,
            of_two_one_takes_the_last_place,
            what_is_in_flight_at_one_counts_at_the_other,
            what_is_settled_at_one_is_seen_at_the_other,
            what_comes_twice_is_locked_at_both;
    }

    /// Whose attachments are, at both.
    attachments Attachments __shared_store_contract_attachments {
        shared:
            an_attachment_has_one_owner_at_both;
    }

    /// Sessions of clients, at both.
    clients Clients __shared_store_contract_clients {
        shared:
            what_is_cancelled_at_one_is_so_at_the_other,
            client_sessions_at_both_are_limited_exactly;
    }

    /// All threads, and users who are shut out, at both.
    directory Directory __shared_store_contract_directory {
        blocks:
            who_is_blocked_at_one_is_so_at_the_other;
        shared:
            what_leaves_quarantine_at_one_is_free_at_the_other,
            what_is_adopted_at_both_is_so_once,
            nobody_keeps_a_count_while_a_run_is_in_flight_elsewhere;
    }

    /// Limits of requests, at both.
    allowances Allowances __shared_store_contract_allowances {
        allowances:
            slices_at_both_stop_at_the_limit,
            what_is_given_back_at_one_is_there_at_the_other,
            never_more_than_the_limit_in_any_window_at_both;
    }
}
