//! A follower and its observers, as lists of what it wants done.

use zk_proto::quorum::{Forwarded, Touched};
use zk_proto::request::Request;
use zk_proto::{Epoch, Reader};

use super::super::tests::{TIMES, ack_epoch, incumbent, info, links, send, z};
use super::super::{Plan, Refusal};
use super::*;

/// Follower 3 in epoch 2, whose history ends with the first txn of it, and observer 4.
struct Fed {
    feeder: Feeder,
    now_ms: u64,
    out: Vec<Output<'static>>,
}

impl Fed {
    fn new() -> Fed {
        let (current_epoch, accepted_epoch) = (Epoch(2), Epoch(2));
        let own = Incumbent { current_epoch, accepted_epoch, last_zxid: z(2, 1), ..incumbent() };
        Fed { feeder: Feeder::new(own, TIMES), now_ms: 0, out: Vec::new() }
    }

    fn hear(&mut self, link: u64, packet: FromLearner<'static>) {
        self.feeder.heard(self.now_ms, LinkId(link), packet, &mut self.out);
    }

    fn join(&mut self, link: u64, packet: FromLearner<'static>) {
        self.feeder.connected(self.now_ms, LinkId(link));
        self.hear(link, packet);
    }

    /// With an observer that has everything.
    fn feeding() -> Fed {
        let mut fed = Fed::new();
        fed.join(1, info(4, true, 2));
        fed.hear(1, ack_epoch(z(2, 1), None));
        fed.hear(1, FromLearner::Ack(z(2, 0)));
        fed.hear(1, FromLearner::Ack(z(2, 0)));
        fed.out.clear();
        fed
    }

    /// An observer's client wants its session, and no own one has it any more.
    #[track_caller]
    fn moves(&mut self, link: u64, session: SessionId) {
        self.hear(link, FromLearner::Revalidate { session, timeout_ms: 1000 });
        let link = LinkId(link);
        let asked = Output::Revalidate { link, session, timeout_ms: 1000 };
        assert_eq!(self.out.pop(), Some(asked));
        self.feeder.ask_move(link, session, 1000, &mut self.out);
    }

    fn learned(&mut self, upto: Zxid) {
        self.feeder.learned(upto, &mut self.out);
    }

    #[track_caller]
    fn wants(&mut self, want: &[Output<'static>]) {
        assert_eq!(std::mem::take(&mut self.out), want);
    }

    /// How an observer with this history is synchronised.
    #[track_caller]
    fn plan(&mut self, link: u64, zxid: Zxid) -> Option<Plan> {
        self.join(link, info(100 + link as i64, true, 2));
        self.hear(link, ack_epoch(zxid, None));
        let out = std::mem::take(&mut self.out);
        out.iter().find_map(|output| match output {
            Output::Synchronize { plan, .. } => Some(*plan),
            _ => None,
        })
    }
}

fn inform(upto: Zxid, leader: Option<i64>, to: &[u64]) -> Output<'static> {
    Output::Inform { upto, leader: leader.map(Sid), observers: links(to) }
}

fn request(op: OpCode) -> FromLearner<'static> {
    let (session, op) = (SessionId(7), op.code());
    FromLearner::Request(Forwarded { session, cxid: 1, op, body: b"", identities: Vec::new() })
}

/// What an old place is told, and what goes up in place of its request.
fn refused(link: u64) -> [Output<'static>; 2] {
    let FromLearner::Request(asked) = request(OpCode::Delete) else { unreachable!() };
    let asked = Forwarded { body: DELETE_ROOT, ..asked };
    let told = send(link, FromLeader::Moved(asked.session));
    [told, Output::Upstream(FromLearner::Request(asked))]
}

#[test]
fn what_every_leader_refuses_is_to_delete_the_root() {
    let read = Request::read(OpCode::Delete, &mut Reader::new(DELETE_ROOT));
    let Ok(Some(Request::Delete(delete))) = read else { panic!("{read:?}") };
    assert_eq!((&*delete.path, delete.version), ("/", -1));
}

#[test]
fn an_observer_is_told_the_epoch_and_the_history_without_any_wait() {
    let mut fed = Fed::new();
    fed.join(1, info(4, true, 1));
    fed.wants(&[send(1, FromLeader::LeaderInfo(Epoch(2)))]);
    fed.hear(1, ack_epoch(z(2, 1), Some(1)));
    let config = Some(incumbent().configs.committed.to_string().into());
    fed.wants(&[
        Output::Synchronize { link: LinkId(1), plan: Plan::Window(z(2, 1)) },
        send(1, FromLeader::NewLeader { zxid: z(2, 0), config }),
    ]);
    fed.hear(1, FromLearner::Ack(z(2, 0)));
    fed.wants(&[send(1, FromLeader::UpToDate)]);
    assert_eq!(fed.feeder.census().synced_observers, [(LinkId(1), Sid(4))]);
}

#[test]
fn what_is_learned_goes_on_to_it_once() {
    let mut fed = Fed::feeding();
    fed.learned(z(2, 4));
    fed.wants(&[inform(z(2, 4), None, &[1])]);
    fed.learned(z(2, 4));
    fed.wants(&[]);
    fed.feeder.disconnected(LinkId(1));
    fed.learned(z(2, 5));
    fed.wants(&[inform(z(2, 5), None, &[])]);
    assert_eq!(fed.feeder.applied(), z(2, 5));
}

#[test]
fn a_reconfiguration_is_told_with_its_leader() {
    let mut fed = Fed::feeding();
    fed.feeder.will_activate(z(2, 3), Sid(2));
    fed.learned(z(2, 5));
    fed.wants(&[inform(z(2, 3), Some(2), &[1]), inform(z(2, 5), None, &[1])]);
}

#[test]
fn the_first_txn_of_an_epoch_follows_the_last_of_another() {
    let mut fed = Fed::new();
    let own = Incumbent { current_epoch: Epoch(2), last_zxid: z(1, 5), ..incumbent() };
    fed.feeder = Feeder::new(own, TIMES);
    fed.learned(z(2, 2));
    fed.wants(&[inform(z(2, 2), None, &[])]);
    assert_eq!(fed.plan(1, z(2, 1)), Some(Plan::Window(z(2, 1))));
}

#[test]
fn an_observer_that_comes_back_gets_what_it_misses() {
    let mut fed = Fed::new();
    fed.learned(z(2, 9));
    fed.out.clear();
    assert_eq!(fed.plan(1, z(2, 9)), Some(Plan::Window(z(2, 9))));
    assert_eq!(fed.plan(2, z(2, 4)), Some(Plan::Window(z(2, 4))));
    // What came before it followed is in the log only, or nowhere.
    fed.join(3, info(103, true, 2));
    fed.hear(3, ack_epoch(z(1, 5), None));
    let asked = Output::LookUp { link: LinkId(3), zxid: z(1, 5) };
    assert_eq!(fed.out.pop(), Some(asked));
    fed.feeder.looked_up(LinkId(3), false, &mut fed.out);
    let snap = Output::Synchronize { link: LinkId(3), plan: Plan::Snap };
    assert!(fed.out.contains(&snap), "{:?}", fed.out);
    fed.out.clear();
    assert_eq!(fed.plan(4, Zxid::ZERO), Some(Plan::Snap));
}

#[test]
fn what_it_asks_for_goes_up_and_answers_come_back_in_order() {
    let mut fed = Fed::feeding();
    fed.hear(1, request(OpCode::Create));
    fed.wants(&[Output::Upstream(request(OpCode::Create))]);
    fed.feeder.asked_sync();
    fed.hear(1, request(OpCode::Sync));
    fed.feeder.asked_sync();
    fed.wants(&[Output::Upstream(request(OpCode::Sync))]);
    let mut whose = Vec::new();
    whose.extend((0..4).map(|_| fed.feeder.synced(&mut fed.out)));
    assert_eq!(whose, [false, true, false, false]);
    fed.wants(&[Output::Synced(Some(LinkId(1)))]);
}

#[test]
fn a_session_that_moves_is_answered_to_who_has_asked() {
    let mut fed = Fed::feeding();
    fed.moves(1, SessionId(7));
    let asked = FromLearner::Revalidate { session: SessionId(7), timeout_ms: 1000 };
    fed.wants(&[Output::Upstream(asked)]);
    assert!(!fed.feeder.revalidated(SessionId(8), true, &mut fed.out), "an own client's");
    assert!(fed.feeder.revalidated(SessionId(7), true, &mut fed.out));
    let packet = FromLeader::Revalidate { session: SessionId(7), is_valid: true };
    fed.wants(&[send(1, packet)]);
    assert!(!fed.feeder.revalidated(SessionId(7), true, &mut fed.out), "once");
}

#[test]
fn it_is_asked_whether_it_lives_and_whom_it_hears() {
    let mut fed = Fed::feeding();
    fed.feeder.tick(1_000, &mut fed.out);
    fed.wants(&[send(1, FromLeader::Ping(z(2, 1)))]);
    let touched = Touched::of(b"");
    fed.hear(1, FromLearner::Ping { zxid: z(2, 1), touched });
    fed.wants(&[Output::Touched { link: LinkId(1), touched }]);
    // There is no quorum here that could be lost.
    fed.feeder.tick(11_000, &mut fed.out);
    let why = Refusal::Silent(11_000);
    assert_eq!(fed.out.first(), Some(&Output::Close { link: LinkId(1), why }));
}

#[test]
fn followers_and_requests_of_strangers_are_refused() {
    let mut fed = Fed::new();
    fed.join(1, info(1, false, 2));
    let why = Refusal::Unexpected("FOLLOWERINFO");
    fed.wants(&[Output::Close { link: LinkId(1), why }]);
    fed.join(2, info(77, true, 2));
    fed.hear(2, ack_epoch(z(2, 1), None));
    fed.out.clear();
    fed.hear(2, request(OpCode::Create));
    fed.wants(&[Output::Close { link: LinkId(2), why: Refusal::Stranger(Sid(77)) }]);
}

/// To the leader all of them are this follower's.
#[test]
fn a_session_that_has_moved_asks_for_nothing_at_its_old_place() {
    let session = SessionId(7);
    let mut fed = Fed::feeding();
    fed.moves(1, session);
    fed.out.clear();
    assert!(fed.feeder.revalidated(session, true, &mut fed.out));
    let here = FromLeader::Revalidate { session, is_valid: true };
    fed.wants(&[send(1, here)]);
    fed.hear(1, request(OpCode::SetData));
    fed.wants(&[Output::Upstream(request(OpCode::SetData))]);

    // It moves to an own client.
    fed.feeder.asked_move(session);
    assert!(!fed.feeder.revalidated(session, true, &mut fed.out));
    fed.wants(&[]);
    fed.hear(1, request(OpCode::SetData));
    fed.wants(&refused(1));
    // It is told of everything that it waits for, and may end the session.
    fed.hear(1, request(OpCode::Sync));
    fed.hear(1, request(OpCode::CloseSession));
    let passed = [OpCode::Sync, OpCode::CloseSession].map(|op| Output::Upstream(request(op)));
    fed.wants(&passed);
    assert!(fed.feeder.synced(&mut fed.out));
    fed.wants(&[Output::Synced(Some(LinkId(1)))]);

    // One that does not listen is let go.
    fed.now_ms += TIMES.sync_ms - 1;
    fed.hear(1, request(OpCode::SetData));
    fed.wants(&refused(1));
    fed.now_ms += 1;
    fed.hear(1, request(OpCode::SetData));
    fed.wants(&[Output::Close { link: LinkId(1), why: Refusal::Moved(session) }]);

    // It comes back, and has its time again when it leaves once more.
    let mut fed = Fed::feeding();
    fed.feeder.asked_move(session);
    fed.hear(1, request(OpCode::SetData));
    fed.moves(1, session);
    fed.now_ms += TIMES.sync_ms;
    fed.out.clear();
    fed.hear(1, request(OpCode::SetData));
    fed.wants(&[Output::Upstream(request(OpCode::SetData))]);
    fed.feeder.asked_move(session);
    fed.hear(1, request(OpCode::SetData));
    fed.wants(&refused(1));

    // An ended one is nobody's.
    let mut fed = Fed::feeding();
    fed.feeder.asked_move(session);
    fed.feeder.revalidated(session, true, &mut fed.out);
    fed.feeder.ended(session);
    fed.hear(1, request(OpCode::SetData));
    fed.wants(&[Output::Upstream(request(OpCode::SetData))]);
}

/// What the leader refuses changes nothing, and its answers come in the order of questions.
#[test]
fn answers_about_a_session_go_to_who_has_asked_first() {
    let session = SessionId(7);
    let mut fed = Fed::feeding();
    fed.feeder.asked_move(session);
    fed.moves(1, session);
    fed.out.clear();
    assert!(!fed.feeder.revalidated(session, false, &mut fed.out));
    assert!(fed.feeder.revalidated(session, false, &mut fed.out));
    fed.wants(&[send(1, FromLeader::Revalidate { session, is_valid: false })]);
}

/// Who is in no configuration has no clients.
#[test]
fn strangers_keep_no_session_and_take_none() {
    let mut fed = Fed::new();
    fed.join(1, info(99, true, 2));
    fed.hear(1, ack_epoch(z(2, 1), None));
    fed.hear(1, FromLearner::Ack(z(2, 0)));
    fed.out.clear();
    let mut bytes = Vec::new();
    Touched::put(&mut bytes, SessionId(7), 1000);
    let bytes: &'static [u8] = bytes.leak();
    fed.hear(1, FromLearner::Ping { zxid: z(2, 1), touched: Touched::of(bytes) });
    fed.wants(&[]);
    fed.hear(1, FromLearner::Revalidate { session: SessionId(7), timeout_ms: 1000 });
    fed.wants(&[Output::Close { link: LinkId(1), why: Refusal::Stranger(Sid(99)) }]);
}

/// The leader takes it for this follower's from the moment on when it is asked, wherever it was
/// before: what an older place still says must not get there.
#[test]
fn a_session_is_who_asks_for_it_at_once_and_stays_when_that_one_goes() {
    let session = SessionId(7);
    let mut fed = Fed::feeding();
    fed.hear(1, request(OpCode::CreateSession));
    // It moves to another follower, which nobody tells here, and comes back by another observer.
    fed.feeder.ask_move(LinkId(2), session, 1000, &mut fed.out);
    fed.out.clear();
    fed.hear(1, request(OpCode::SetData));
    fed.wants(&refused(1));

    let mut fed = Fed::feeding();
    fed.hear(1, request(OpCode::CreateSession));
    fed.feeder.asked_move(session);
    fed.out.clear();
    fed.hear(1, request(OpCode::SetData));
    fed.wants(&refused(1));

    let mut fed = Fed::feeding();
    fed.feeder.asked_move(session);
    fed.feeder.ask_move(LinkId(2), session, 1000, &mut fed.out);
    assert!(!fed.feeder.revalidated(session, true, &mut fed.out));
    assert!(fed.feeder.revalidated(session, true, &mut fed.out));
    fed.feeder.disconnected(LinkId(2));
    fed.out.clear();
    fed.hear(1, request(OpCode::SetData));
    fed.wants(&refused(1));
}
