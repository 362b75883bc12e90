//! What newcomers and large requests may take: Apache's `connection_throttle_*` and
//! `largeRequest*`.

use std::io::Write;

use zk_proto::Jute;
use zk_proto::acl::AclBytes;
use zk_proto::connect::ConnectRequest;
use zk_proto::jute::put_frame;
use zk_proto::request::{AddWatchRequest, Request};

use crate::client::{Client, create, is_closed_by_peer, open};
use crate::member::Member;
use crate::metrics::figure;
use crate::slow_disk::{Brake, Held};
use crate::wait_until;

fn arrives(member: &Member) -> bool {
    Client::handshake(open(member.addr()), 10_000).is_ok()
}

#[test]
fn connect_requests_beyond_the_tokens_are_closed_without_a_word() {
    let member = Member::start(
        "connection_throttle_tokens=3\nconnection_throttle_fill_time=2000000000\n\
         connection_throttle_fill_count=1\n",
    );
    let mut first = member.client();
    assert!(arrives(&member) && arrives(&member));
    assert!(!arrives(&member) && !arrives(&member), "there were three tokens");
    // Who is in stays, and questions of operators cost nothing.
    assert!(first.get("/").is_ok());
    assert_eq!(figure(&member, "connection_rejected"), "2");
    assert_eq!(figure(&member, "connection_request_count"), "3");
    assert_eq!(figure(&member, "max_connection_token_deficit"), "3");
    assert_eq!(figure(&member, "connection_drop_probability"), "0.0");
}

#[test]
fn tokens_come_back_with_time_and_renewals_have_a_price_of_their_own() {
    let member = Member::start(
        "connection_throttle_tokens=1\nconnection_throttle_fill_time=1\n\
         connection_throttle_weight_enabled=true\nconnection_throttle_renew_session_weight=9\n",
    );
    let first = member.client();
    // A new session costs three tokens of three, and a renewal nine.
    wait_until("the tokens are back", || arrives(&member));
    let renewal = ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: 0,
        timeout_ms: 10_000,
        session_id: first.session.session_id,
        password: Some(&first.session.password),
        read_only: Some(false),
    };
    let mut frame = Vec::new();
    put_frame(&mut frame, |out| renewal.write(out));
    let mut stream = open(member.addr());
    stream.write_all(&frame).unwrap();
    assert!(is_closed_by_peer(stream), "a renewal costs more than there is room for");
}

#[test]
fn the_chance_of_being_dropped_is_shown() {
    let member = Member::start(
        "connection_throttle_tokens=1\nconnection_throttle_fill_time=2000000000\n\
         connection_throttle_freeze_time=0\nconnection_throttle_drop_increase=0.5\n",
    );
    let _first = member.client();
    wait_until("nobody passes any more", || {
        assert!(!arrives(&member));
        figure(&member, "connection_drop_probability") == "1.0"
    });
}

const LARGE: &str = "largeRequestThreshold=1000\nlargeRequestMaxBytes=10000\n";

#[test]
fn a_request_that_is_larger_than_all_may_be_ends_its_connection() {
    let member = Member::start(LARGE);
    let mut witness = member.client();
    assert_eq!(witness.create("/l", &[7; 9000]).unwrap(), 0);
    assert!(member.client().create("/m", &[7; 10_000]).is_err());
    assert_eq!(figure(&member, "large_requests_rejected"), "1");
    // Its length is enough, and a connect request is no better.
    let mut begun = member.client();
    begun.send_bytes(&10_001i32.to_be_bytes()).unwrap();
    assert!(begun.ends());
    let mut fresh = open(member.addr());
    fresh.write_all(&10_001i32.to_be_bytes()).unwrap();
    assert!(is_closed_by_peer(fresh));
    // So is one that changes nothing.
    let path = format!("/{}", "w".repeat(10_000));
    let watch = AddWatchRequest { path: Some(path.into()), mode: 0 };
    assert!(member.client().call(&Request::AddWatch(watch)).is_err());
    assert_eq!(figure(&member, "large_requests_rejected"), "4");
    // What is answered makes room: these are more than 10,000 bytes one after the other.
    for i in 0..5 {
        assert_eq!(witness.create(&format!("/l{i}"), &[7; 9000]).unwrap(), 0);
    }
}

#[test]
fn large_requests_under_way_leave_no_room_for_others() {
    let disk = Brake::new();
    let member = Member::start_on(disk.clone(), LARGE);
    let [mut first, mut second, mut third, mut fourth] = [0; 4].map(|_| member.client());
    let data = vec![7; 4000];
    disk.hold(true);
    let held = Held(&disk);
    first.send(&create("/a", &data, AclBytes::OPEN)).unwrap();
    second.send(&create("/b", &data, AclBytes::OPEN)).unwrap();
    let under_way = || figure(&member, "outstanding_requests");
    wait_until("two are under way", || under_way() == "2");
    assert!(third.create("/c", &data).is_err(), "there is no room for a third");
    assert_eq!(figure(&member, "large_requests_rejected"), "1");
    // Who leaves gives its place to others.
    drop(second);
    wait_until("two are gone", || member.connections() == 2);
    fourth.send(&create("/d", &data, AclBytes::OPEN)).unwrap();
    wait_until("another is under way", || under_way() == "3");
    drop(held);
    assert_eq!([first, fourth].map(|mut client| client.reply().unwrap().err), [0, 0]);
}
