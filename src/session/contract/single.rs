//! The promises of one store.

use super::{Part, Promise, Store, promises};

promises! {
    ($)
    /// What every store promises that implements these parts.
    PROMISES: single, Store;

    /// Sessions: made, named, listed, titled, deleted.
    sessions Sessions __store_contract_sessions {
        sessions:
            the_first_signing_key_stays,
            a_session_is_stored_as_it_was_given,
            whose_a_thread_is_is_told_anew_each_time,
            an_id_is_given_once,
            fifty_creates_at_once_stop_at_the_limit,
            the_limit_is_each_users_own,
            deleting_makes_room,
            a_title_is_set_and_taken_away,
            users_that_look_alike_are_strangers,
            text_is_never_interpreted,
            a_dropped_create_is_made_or_not,
            a_ping_is_answered;
        conversations:
            a_session_is_found_by_its_id_as_a_conversation,
            a_session_need_not_be_a_conversation,
            numbers_are_never_given_again,
            an_id_that_is_taken_is_refused_and_nothing_is_made,
            a_session_that_is_discarded_leaves_its_id_free;
        lists:
            lists_are_newest_first_and_ties_are_settled,
            pages_of_sessions_follow_one_another,
            what_is_written_meanwhile_moves_nobody_else,
            a_run_that_ended_just_now_is_first_in_the_list,
            a_session_that_is_discarded_is_in_no_list,
            lists_are_of_conversations_with_such_ids;
    }

    /// Runs: begun, bound, settled, and what they keep a session from.
    runs Runs __store_contract_runs {
        beginning:
            a_run_of_nothing_is_unknown,
            a_run_that_is_not_the_callers_changes_nothing,
            a_run_begins_by_any_name_of_its_session,
            a_run_of_what_is_to_be_bound_takes_nothing,
            a_run_that_begins_again_takes_nothing_more,
            a_run_that_begins_at_once_with_itself_is_one,
            a_run_that_has_begun_is_nobody_elses;
        first_runs:
            twenty_first_runs_at_once_make_one_lease,
            settling_frees_the_lease_at_once,
            a_lease_ends_with_its_time,
            a_lease_does_not_last_longer_when_the_clock_is_set_back,
            a_late_bind_has_lost_its_lease,
            a_late_settle_leaves_the_next_lease_alone,
            a_lease_that_nobody_took_over_still_binds,
            a_lease_binds_once,
            a_thread_belongs_to_one_session,
            a_first_run_says_whether_there_is_a_title,
            a_dropped_first_run_gives_its_lease_back,
            busy_comes_before_the_limit,
            a_first_run_that_begins_again_takes_nothing_more,
            a_first_run_that_begins_again_outlives_a_dropped_call,
            a_first_run_that_begins_at_once_with_itself_is_one;
        created_runs:
            a_session_is_created_with_its_first_run,
            the_lease_of_a_created_run_ends_with_its_time,
            a_created_run_that_begins_again_takes_nothing_more,
            a_created_run_that_begins_again_outlives_a_dropped_create,
            a_session_created_for_a_run_goes_with_it,
            a_session_that_was_taken_over_stays,
            a_session_that_is_refused_begins_no_run,
            a_dropped_create_with_a_run_leaves_nothing,
            creates_with_runs_at_once_stop_at_the_limit;
        counts:
            what_was_written_to_never_was_so_earlier,
            the_limit_counts_what_is_in_flight,
            starts_and_ends_at_once_stop_at_the_limit,
            what_is_settled_is_seen_at_once,
            an_empty_settlement_changes_nothing,
            the_last_of_two_titles_stays,
            a_recount_replaces_only_what_it_saw,
            a_count_never_overflows,
            a_deleted_session_is_settled_in_silence,
            a_settlement_that_resolves_is_there,
            only_a_run_in_flight_is_settled,
            what_is_bound_is_not_discarded;
        deletions:
            a_session_is_deleted_as_what_it_is,
            what_may_be_bound_yet_is_not_deleted,
            runs_in_flight_keep_no_bound_session,
            a_session_is_deleted_or_run,
            a_session_is_deleted_or_bound;
        quarantine:
            a_lost_lease_hides_no_id_that_came_twice,
            what_comes_twice_is_found_locked,
            a_thread_that_is_named_elsewhere_is_locked;
    }

    /// Whose attachments are.
    attachments Attachments __store_contract_attachments {
        attachments:
            an_attachment_has_one_owner,
            ids_of_attachments_are_never_interpreted,
            of_many_owners_at_once_there_is_one,
            an_adopted_attachment_is_its_owners,
            an_adopted_attachment_does_not_come_back;
    }

    /// Sessions of clients.
    clients Clients __store_contract_clients {
        clients:
            active_client_sessions_are_limited_exactly,
            a_client_session_is_stored_as_it_was_given,
            an_active_client_session_is_cancelled_once,
            client_sessions_that_expired_long_ago_go,
            a_client_session_does_not_last_longer_when_the_clock_is_set_back;
    }

    /// All threads: listed, taken on, in quarantine; and users who are shut out.
    directory Directory __store_contract_directory {
        blocks:
            a_user_is_blocked_until_unblocked,
            a_list_of_blocked_users_is_told_once,
            blocked_users_are_told_in_pages,
            a_block_touches_nothing_of_the_users,
            of_many_blocks_at_once_there_is_one;
        threads:
            threads_are_in_the_order_of_their_binding,
            a_page_of_threads_lies_between_its_cursors,
            the_place_of_a_deleted_thread_is_known_for_a_day,
            who_deletes_what_a_page_shows_goes_on_behind_it,
            threads_bound_at_one_moment_are_all_paged_through;
        adoption:
            a_thread_becomes_a_session_as_it_was_given,
            adopted_threads_are_listed_by_their_creation,
            what_is_known_stays_as_it_is,
            what_is_anothers_is_not_taken,
            each_entry_sees_those_before_it,
            what_was_deleted_here_does_not_come_back,
            no_number_is_given_that_clients_cannot_read,
            adopted_text_is_never_interpreted,
            the_adopted_take_nobodys_place,
            numbers_go_on_behind_the_adopted,
            a_batch_that_is_dropped_is_adopted_or_not;
        uncounted:
            a_run_of_the_uncounted_waits_for_their_count,
            runs_that_counted_at_once_stop_at_the_limit,
            a_count_that_is_the_limit_is_kept_all_the_same,
            a_count_that_may_have_a_runs_messages_is_not_kept,
            a_count_that_somebody_else_brings_is_not_kept,
            whoever_reads_all_of_an_adopted_thread_counts_it,
            a_count_of_an_adopted_thread_never_overflows,
            a_dropped_counted_run_gives_its_place_back;
        quarantine:
            an_id_that_comes_twice_locks_its_thread,
            what_is_locked_is_nobodys,
            what_is_locked_leaves_its_owner_room,
            pages_go_on_past_what_is_locked,
            a_conversation_that_is_locked_is_found_so,
            two_threads_of_one_user_lock_nothing,
            all_who_got_an_id_are_known_up_to_a_hundred,
            a_session_that_is_gone_was_somebodys,
            a_later_run_may_name_its_own_thread_and_a_new_one,
            a_release_gives_it_back_as_it_was,
            a_deleted_session_leaves_its_id_locked,
            the_id_of_a_deleted_session_is_nobodys,
            of_many_first_runs_with_one_id_one_is_bound_and_then_locked,
            the_locked_are_told_in_pages;
    }

    /// Limits of requests that gateways share.
    allowances Allowances __store_contract_allowances {
        allowances:
            a_slice_is_of_what_is_left,
            slices_at_once_stop_at_the_limit,
            what_is_given_back_is_there_once,
            keys_of_limits_are_never_interpreted,
            what_was_used_is_there_again_after_a_window,
            what_nobody_reports_is_there_again_later,
            never_more_than_the_limit_in_any_window;
    }
}
