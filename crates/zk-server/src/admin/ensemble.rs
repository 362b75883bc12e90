//! What is shown of a member of an ensemble: its role, the others, its learners.

use std::fmt::Write;
use std::net::SocketAddr;

use zk_proto::election::ServerState;
use zk_proto::{Sid, Zxid};
use zk_zab::peer::ZabState;
use zk_zab::{Ensemble, HostPort, Member, MemberAddress, Role};

use super::facts::Inspect;
use super::java;
use super::json::Json;
use super::monitor::Value;

/// A member of an ensemble at a moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QuorumFacts {
    /// Its number.
    pub sid: Sid,
    /// Whether it looks for a leader, leads, follows or observes.
    pub state: ServerState,
    /// How far it has come with that.
    pub zab_state: ZabState,
    /// Its leader.
    pub leader: Option<Sid>,
    /// The configuration that counts.
    pub ensemble: Ensemble,
    /// What it does as a leader.
    pub reign: Option<ReignFacts>,
    /// Whom it learns from: its leader, or for an observer a follower.
    pub master: Option<Sid>,
    /// The observers of a follower with a port for them.
    pub observers: Option<Vec<ObserverFacts>>,
}

/// What a leader has to do with its learners.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ReignFacts {
    /// Connections of learners.
    pub learners: usize,
    /// Followers that get proposals.
    pub synced_followers: usize,
    /// Those of them that do not vote.
    pub synced_non_voting_followers: usize,
    /// Proposals that syncs wait for.
    pub pending_syncs: usize,
    /// Since it leads.
    pub uptime_ms: u64,
    /// Its observers.
    pub observers: Vec<ObserverFacts>,
}

/// One observer of a leader.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObserverFacts {
    /// Where it comes from.
    pub peer: SocketAddr,
    /// Its number.
    pub sid: Sid,
    /// When it connected, ms since 1970.
    pub established_ms: i64,
    /// Bytes that wait for it.
    pub unsent_bytes: usize,
    /// Packets that it sent.
    pub received: u64,
    /// Packets for it.
    pub sent: u64,
    /// Requests of its clients.
    pub requests: u64,
    /// Of the last packet for it.
    pub last_zxid: Zxid,
}

impl QuorumFacts {
    fn member(&self) -> Option<&Member> {
        self.ensemble.members.get(&self.sid)
    }

    fn address(&self) -> Option<&MemberAddress> {
        self.member()?.addresses.first()
    }

    /// Apache's `getDetailedPeerState`.
    pub(super) fn peer_state(&self) -> String {
        let state = match self.state {
            ServerState::Looking => "looking",
            ServerState::Following => "following",
            ServerState::Leading => "leading",
            ServerState::Observing => "observing",
        };
        match self.zab_state {
            ZabState::Election => state.to_owned(),
            zab => format!("{state} - {}", zab.name()),
        }
    }

    /// Whose sessions it only knows, but for their ends.
    pub(super) fn is_learner(&self) -> bool {
        self.leader != Some(self.sid)
    }
}

/// The gauges of an ensemble.
pub(super) fn gauges(server: &dyn Inspect, out: &mut Vec<(&'static str, Value)>) {
    let Some(facts) = server.quorum() else { return };
    let whole = |n: usize| Value::Whole(n as i64);
    out.push(("quorum_size", whole(facts.ensemble.voters().count())));
    // A follower that feeds observers, as in Apache.
    out.extend(facts.observers.map(|observers| ("synced_observers", whole(observers.len()))));
    let Some(reign) = facts.reign else { return };
    let [last, least, greatest] = server.metrics().quorum.proposals.last_least_greatest();
    out.extend([
        ("learners", whole(reign.learners)),
        ("synced_followers", whole(reign.synced_followers)),
        ("synced_non_voting_followers", whole(reign.synced_non_voting_followers)),
        ("synced_observers", whole(reign.observers.len())),
        ("pending_syncs", whole(reign.pending_syncs)),
        ("leader_uptime", Value::Whole(reign.uptime_ms as i64)),
        ("last_proposal_size", Value::Whole(last)),
        ("max_proposal_size", Value::Whole(greatest)),
        ("min_proposal_size", Value::Whole(least)),
    ]);
}

/// What `mntr` says of the role; Prometheus gets none of it.
pub(super) fn roles(server: &dyn Inspect) -> Vec<(String, Value)> {
    let Some(facts) = server.quorum() else { return Vec::new() };
    let mut out = vec![("peer_state".to_owned(), Value::Text(facts.peer_state()))];
    if let (ServerState::Observing, Some(master)) = (facts.state, facts.master) {
        out.push(("observer_master_id".to_owned(), Value::Whole(master.0)));
    }
    out
}

/// The last line of `srvr` and `stat`.
pub(super) fn proposal_sizes(out: &mut String, server: &dyn Inspect) {
    if server.quorum().is_some_and(|facts| facts.reign.is_some()) {
        let [last, least, greatest] = server.metrics().quorum.proposals.last_least_greatest();
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(out, "Proposal sizes last/min/max: {last}/{least}/{greatest}");
    }
}

/// The lines of `conf` behind the server's number.
pub(super) fn conf(out: &mut String, server: &dyn Inspect) {
    let Some(facts) = server.quorum() else { return };
    let settings = &server.config().quorum;
    let [init, sync] =
        [settings.init_limit_ticks, settings.sync_limit_ticks].map(Option::unwrap_or_default);
    let _ = writeln!(out, "initLimit={init}\nsyncLimit={sync}\nelectionAlg=3");
    if let Some(address) = facts.address() {
        let MemberAddress { election_port, quorum_port, .. } = address;
        let _ = writeln!(out, "electionPort={election_port}\nquorumPort={quorum_port}");
    }
    let is_observer = facts.member().is_some_and(|member| member.role == Role::Observer);
    let _ = write!(out, "peerType={}\nmembership: \n{}", u8::from(is_observer), facts.ensemble);
}

/// The number in `conf`: that of a member, or 0.
pub(super) fn server_id(server: &dyn Inspect) -> i64 {
    server.quorum().map_or(0, |facts| facts.sid.0)
}

/// The command `leader`.
pub(super) fn leader(server: &dyn Inspect) -> Result<Json, String> {
    let facts = server.quorum().ok_or("server is not initialized")?;
    let leader = facts.leader.and_then(|sid| facts.ensemble.members.get(&sid));
    let host = leader.and_then(|leader| leader.addresses.first()).map(|it| it.host.as_str());
    Ok(Json::map([
        ("is_leader", Json::Bool(!facts.is_learner())),
        ("leader_id", facts.leader.map_or(-1, |sid| sid.0).into()),
        ("leader_ip", host.unwrap_or_default().into()),
    ]))
}

/// The command `observers`. Packets that wait are not counted, only their bytes.
pub(super) fn observers(server: &dyn Inspect) -> Json {
    let facts = server.quorum();
    let all = facts.and_then(|facts| facts.reign.map(|reign| reign.observers).or(facts.observers));
    let all = all.unwrap_or_default();
    let observers = all.iter().map(|observer| {
        Json::map([
            ("remote_socket_address", format!("/{}", java::address(observer.peer)).into()),
            ("sid", observer.sid.0.into()),
            ("established", observer.established_ms.into()),
            ("queued_packets_size", (observer.unsent_bytes as u64).into()),
            ("packets_received", observer.received.into()),
            ("packets_sent", observer.sent.into()),
            ("requests", observer.requests.into()),
            ("last_zxid", observer.last_zxid.0.into()),
        ])
    });
    Json::map([
        ("synced_observers", (all.len() as u64).into()),
        ("observers", Json::List(observers.collect())),
    ])
}

/// The command `voting_view`.
pub(super) fn voting_view(server: &dyn Inspect) -> Json {
    let Some(facts) = server.quorum() else {
        return Json::map([("current_config", Json::Map(Vec::new()))]);
    };
    let own = client_address(server);
    let view = |sid: Sid| {
        let member = facts.ensemble.members.get(&sid)?;
        let all = |port: fn(&MemberAddress) -> u16| {
            Json::List(member.addresses.iter().map(|at| host_port(at, port).into()).collect())
        };
        // What the line does not say is known of this member alone.
        let client = member.client.as_ref().map(HostPort::to_string);
        let client = client.or_else(|| own.clone().filter(|_| sid == facts.sid));
        let fields = Json::map([
            ("server_addresses", all(|at| at.quorum_port)),
            ("election_addresses", all(|at| at.election_port)),
            ("client_address", client.unwrap_or_default().into()),
            ("learner_type", member.role.to_string().into()),
        ]);
        Some((sid.0.to_string(), fields))
    };
    Json::map([("current_config", Json::Map(facts.ensemble.voters().filter_map(view).collect()))])
}

/// The command `zabstate`. Whether addresses can be reached is not looked at.
pub(super) fn zab_state(server: &dyn Inspect) -> Json {
    let Some(facts) = server.quorum().filter(|_| server.is_serving()) else {
        return Json::map([("voting", Json::Bool(false)), ("zabstate", "".into())]);
    };
    let zxid = server.tree().last_zxid;
    Json::map([
        ("myid", facts.sid.0.into()),
        ("is_leader", Json::Bool(!facts.is_learner())),
        ("quorum_address", addresses(&facts, |at| at.quorum_port)),
        ("election_address", addresses(&facts, |at| at.election_port)),
        ("client_address", client_address(server).map_or(Json::Null, Json::from)),
        ("voting", Json::Bool(facts.ensemble.is_voter(facts.sid))),
        ("last_zxid", zxid.to_string().into()),
        ("zab_epoch", i64::from(zxid.epoch().0).into()),
        ("zab_counter", zxid.counter().into()),
        ("zabstate", facts.zab_state.name().into()),
    ])
}

fn addresses(facts: &QuorumFacts, port: fn(&MemberAddress) -> u16) -> Json {
    let all = facts.member().map(|member| &*member.addresses).unwrap_or_default();
    let list = |show: &dyn Fn(&MemberAddress) -> Json| Json::List(all.iter().map(show).collect());
    let one = all.first().map_or(Json::Null, |at| host_port(at, port).into());
    Json::map([
        ("empty", Json::Bool(all.is_empty())),
        ("all_addresses", list(&|at| host_port(at, port).into())),
        ("wildcard_addresses", list(&|at| format!("0.0.0.0:{}", port(at)).into())),
        ("all_ports", list(&|at| u32::from(port(at)).into())),
        ("all_host_strings", list(&|at| at.host.as_str().into())),
        ("one", one),
    ])
}

fn host_port(at: &MemberAddress, port: fn(&MemberAddress) -> u16) -> String {
    HostPort { host: at.host.clone(), port: port(at) }.to_string()
}

fn client_address(server: &dyn Inspect) -> Option<String> {
    let host = server.config().listeners.client.as_ref()?.host.clone();
    let port = server.client_ports()[0]?;
    Some(HostPort { host, port }.to_string())
}
