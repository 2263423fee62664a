//! One contract, every store.
//!
//! `contract` has a function for each promise of `SessionStore`; here each becomes a test of
//! each store. What only the SQLite store promises is in `sqlite`, what happens to it when its
//! process is killed in `killed`, what when others come while much is written in `alone`, and what is
//! limited across processes in `shared`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by a panic, in its helpers too"
)]

mod alone;
mod contract;
mod killed;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod shared;
mod sqlite;
mod support;

macro_rules! contract {
    ($($section:ident: $($promise:ident),+;)+) => {
        mod memory_store {$($(
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $promise() {
                crate::contract::$section::$promise(&crate::support::memory()).await;
            }
        )+)+}

        mod sqlite_store {$($(
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $promise() {
                let directory = crate::support::Directory::new();
                crate::contract::$section::$promise(&directory.store()).await;
            }
        )+)+}
    };
}

contract! {
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
        a_run_of_the_uncounted_waits_for_their_count,
        runs_that_counted_at_once_stop_at_the_limit,
        a_count_that_is_the_limit_is_kept_all_the_same,
        a_count_that_may_have_a_runs_messages_is_not_kept,
        a_count_that_somebody_else_brings_is_not_kept,
        whoever_reads_all_of_an_adopted_thread_counts_it,
        a_count_of_an_adopted_thread_never_overflows,
        a_dropped_counted_run_gives_its_place_back,
        a_batch_that_is_dropped_is_adopted_or_not;
    clients:
        threads_are_in_the_order_of_their_binding,
        a_page_of_threads_lies_between_its_cursors,
        the_place_of_a_deleted_thread_is_known_for_a_day,
        who_deletes_what_a_page_shows_goes_on_behind_it,
        threads_bound_at_one_moment_are_all_paged_through,
        the_first_signing_key_stays,
        a_client_session_is_stored_as_it_was_given,
        active_client_sessions_are_limited_exactly,
        an_active_client_session_is_cancelled_once,
        client_sessions_that_expired_long_ago_go,
        a_client_session_does_not_last_longer_when_the_clock_is_set_back;
    conversations:
        a_session_is_found_by_its_id_as_a_conversation,
        a_session_need_not_be_a_conversation,
        numbers_are_never_given_again,
        an_id_that_is_taken_is_refused_and_nothing_is_made,
        a_session_that_is_discarded_leaves_its_id_free;
    quarantine:
        an_id_that_comes_twice_locks_its_thread,
        what_is_locked_is_nobodys,
        what_is_locked_leaves_its_owner_room,
        pages_go_on_past_what_is_locked,
        a_conversation_that_is_locked_is_found_so,
        two_threads_of_one_user_lock_nothing,
        all_who_got_an_id_are_known_up_to_a_hundred,
        a_lost_lease_hides_no_id_that_came_twice,
        a_session_that_is_gone_was_somebodys,
        a_later_run_may_name_its_own_thread_and_a_new_one,
        a_release_gives_it_back_as_it_was,
        a_deleted_session_leaves_its_id_locked,
        the_id_of_a_deleted_session_is_nobodys,
        of_many_first_runs_with_one_id_one_is_bound_and_then_locked,
        the_locked_are_told_in_pages;
    sessions:
        a_session_is_stored_as_it_was_given,
        whose_a_thread_is_is_told_anew_each_time,
        an_id_is_given_once,
        fifty_creates_at_once_stop_at_the_limit,
        the_limit_is_each_users_own,
        deleting_makes_room,
        lists_are_newest_first_and_ties_are_settled,
        pages_of_sessions_follow_one_another,
        what_is_written_meanwhile_moves_nobody_else,
        a_run_that_ended_just_now_is_first_in_the_list,
        a_session_that_is_discarded_is_in_no_list,
        lists_are_of_conversations_with_such_ids,
        a_title_is_set_and_taken_away,
        users_that_look_alike_are_strangers,
        text_is_never_interpreted,
        an_attachment_has_one_owner,
        a_dropped_create_is_made_or_not,
        a_ping_is_answered;
    runs:
        twenty_first_runs_at_once_make_one_lease,
        settling_frees_the_lease_at_once,
        a_lease_ends_with_its_time,
        a_lease_does_not_last_longer_when_the_clock_is_set_back,
        what_was_written_to_never_was_so_earlier,
        a_late_bind_has_lost_its_lease,
        a_late_settle_leaves_the_next_lease_alone,
        a_lease_that_nobody_took_over_still_binds,
        a_lease_binds_once,
        a_thread_belongs_to_one_session,
        a_run_of_nothing_is_unknown,
        a_run_that_is_not_the_callers_changes_nothing,
        a_first_run_says_whether_there_is_a_title,
        a_dropped_first_run_gives_its_lease_back,
        busy_comes_before_the_limit,
        the_limit_counts_what_is_in_flight,
        starts_and_ends_at_once_stop_at_the_limit,
        what_is_settled_is_seen_at_once,
        an_empty_settlement_changes_nothing,
        the_last_of_two_titles_stays,
        a_recount_replaces_only_what_it_saw,
        a_count_never_overflows,
        a_deleted_session_is_settled_in_silence;
}
