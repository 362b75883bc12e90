//! Transcripts of sessions: in `testdata`, what goes in stands at the beginning of a line, what
//! comes out below it, indented. `UPDATE_EXPECT=1 cargo test -p zk-session` writes what comes out.

mod chaos;
mod story;

use std::path::Path;

use expect_test::expect_file;

use story::Story;

macro_rules! stories {
    ($($name:ident,)*) => {$(
        #[test]
        fn $name() {
            check(stringify!($name));
        }
    )*};
}

fn check(name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/client/testdata");
    let path = folder.join(name).with_extension("txt");
    let script = std::fs::read_to_string(&path).unwrap();
    expect_file![path].assert_eq(&Story::tell(&script));
}

stories! {
    a_detached_session_is_resumed,
    a_failed_sasl_exchange_ends_the_session,
    a_lost_write_takes_along_what_waits_behind_it,
    a_new_list_of_servers,
    a_read_only_server_serves_until_a_better_one_is_found,
    a_reconnect_brings_identities_watches_and_the_zxid_along,
    a_reply_out_of_order_is_the_end_of_the_connection,
    a_session_expires_when_nothing_is_heard_for_four_thirds_of_its_timeout,
    another_session_in_the_answer_is_an_expiry,
    behind_lost_reads_the_queue_goes_on,
    closing_before_anything,
    closing_takes_no_longer_than_requests_may_wait,
    closing_while_connecting,
    closing_while_connecting_in_vain,
    closing_without_a_connection,
    expiry_is_said_by_the_server,
    forgotten_and_removed_watches_are_not_set_again,
    garbage_is_the_end_of_the_connection,
    handshake_requests_and_close,
    nobody_answers,
    pings_and_a_silent_server,
    sasl_comes_before_everything,
    the_server_hangs_up_instead_of_confirming_the_close,
    the_window_bounds_what_is_unanswered,
    too_long_requests_are_refused_before_they_cut_the_connection,
    who_does_not_want_read_only_servers_goes_on,
    wrong_credentials_end_the_session,
    xids_wrap_from_the_largest_to_one,
}
