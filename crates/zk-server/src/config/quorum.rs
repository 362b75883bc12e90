//! What a member does inside an ensemble (operations 1.1 and 1.4), read and checked already by a
//! standalone server, so that a file that will not do for an ensemble is known early; but for the
//! stores of TLS between members, which it does not have yet.

use std::path::PathBuf;

use zk_core::LocalSessions;
use zk_proto::Sid;
use zk_zab::{Ensemble, Member, Role};

use super::dynamic::DynamicFiles;
use super::keys::Keys;
use super::{QuorumSaslSettings, QuorumTlsSettings};

/// Settings of the quorum.
#[derive(Clone, PartialEq, Debug)]
pub struct QuorumSettings {
    /// `server.N`, `group.N` and `weight.N`.
    pub ensemble: Ensemble,
    /// What was proposed when the member ended, and not known to be committed.
    pub proposed: Option<Ensemble>,
    /// Where changes of the ensemble are kept; nowhere, for a text in memory.
    pub files: Option<DynamicFiles>,
    /// `dynamicConfigFile`: where those lines are instead.
    pub dynamic_config_file: Option<PathBuf>,
    /// `initLimit`: ticks to connect and synchronise; `None` when missing.
    pub init_limit_ticks: Option<u32>,
    /// `syncLimit`: ticks a follower may be silent; `None` when missing.
    pub sync_limit_ticks: Option<u32>,
    /// `connectToLearnerMasterLimit`: ticks of the connect phase; `None` is `initLimit`.
    pub connect_limit_ticks: Option<u32>,
    /// `peerType`.
    pub peer_type: Role,
    /// `standaloneEnabled`: one voter runs without a quorum.
    pub standalone_enabled: bool,
    /// `reconfigEnabled`.
    pub reconfig_enabled: bool,
    /// `localSessionsEnabled` and `localSessionsUpgradingEnabled`.
    pub local_sessions: Option<LocalSessions>,
    /// `quorumListenOnAllIPs`.
    pub listen_on_all: bool,
    /// `commitLogCount`: txns kept in memory for learners.
    pub commit_log_count: u32,
    /// `cnxTimeout`: connect and read of the election.
    pub connect_timeout_ms: u32,
    /// `quorumCnxnTimeoutMs`; `None` is `syncLimit` ticks.
    pub quorum_timeout_ms: Option<u32>,
    /// `fastleader.minNotificationInterval` and `fastleader.maxNotificationInterval`.
    pub notification_interval_ms: (u32, u32),
    /// `leaderConnectDelayDuringRetryMs`.
    pub leader_connect_delay_ms: u32,
    /// `tcpKeepAlive` of the election connections.
    pub tcp_keep_alive: bool,
    /// `db.autocreate`: an empty member may found an ensemble without the file `initialize`, if all
    /// others are empty too.
    pub founds_unasked: bool,
    /// `observerMasterPort`: where followers feed observers, and observers look for them.
    pub observer_master_port: Option<u16>,
    /// `readonlymode.enabled`: without a quorum clients may read.
    pub reads_alone: bool,
    /// `sslQuorum`.
    pub tls: Option<QuorumTlsSettings>,
    /// `quorum.auth.enableSasl`.
    pub sasl: Option<QuorumSaslSettings>,
}

/// Apache raises a lower value to this.
const MIN_COMMIT_LOG: u32 = 500;

impl QuorumSettings {
    pub(super) fn read(keys: &mut Keys) -> QuorumSettings {
        let ticks = |keys: &mut Keys, key| keys.num(key, 0u32, 0..=i32::MAX as u32);
        let some = |n: u32| (n > 0).then_some(n);
        if keys.number("electionAlg", i64::MIN..=i64::MAX).is_some_and(|alg| alg != 3) {
            keys.error("electionAlg", "electionAlg: only 3 exists; remove it");
        }
        let ensemble = ensemble(keys);
        let standalone_enabled = keys.strict_bool("standaloneEnabled", true);
        let tls = QuorumTlsSettings::read(keys, is_ensemble(&ensemble, standalone_enabled));
        QuorumSettings {
            ensemble,
            proposed: None,
            files: None,
            dynamic_config_file: keys.path("dynamicConfigFile"),
            init_limit_ticks: some(ticks(keys, "initLimit")),
            sync_limit_ticks: some(ticks(keys, "syncLimit")),
            connect_limit_ticks: some(ticks(keys, "connectToLearnerMasterLimit")),
            peer_type: keys.choice(
                "peerType",
                &[("participant", Role::Participant), ("observer", Role::Observer)],
            ),
            standalone_enabled,
            reconfig_enabled: keys.strict_bool("reconfigEnabled", false),
            local_sessions: local_sessions(keys),
            listen_on_all: keys.strict_bool("quorumListenOnAllIPs", false),
            commit_log_count: keys
                .num("commitLogCount", MIN_COMMIT_LOG, 0..=u32::MAX)
                .max(MIN_COMMIT_LOG),
            connect_timeout_ms: keys.num("cnxTimeout", 5000, 1..=u32::MAX),
            quorum_timeout_ms: or_unset(keys, "quorumCnxnTimeoutMs"),
            notification_interval_ms: (
                keys.num("fastleader.minNotificationInterval", 200, 1..=u32::MAX),
                keys.num("fastleader.maxNotificationInterval", 60_000, 1..=u32::MAX),
            ),
            leader_connect_delay_ms: keys.num("leaderConnectDelayDuringRetryMs", 100, 0..=u32::MAX),
            tcp_keep_alive: keys.java_bool("tcpKeepAlive", false),
            founds_unasked: keys.java_bool("db.autocreate", true),
            observer_master_port: observer_master_port(keys),
            reads_alone: keys.java_bool("readonlymode.enabled", false),
            tls,
            sasl: QuorumSaslSettings::read(keys),
        }
    }

    /// Whether the member belongs to an ensemble (Apache `isDistributed`): there are several
    /// voters, or `standaloneEnabled=false` asks for a quorum of one.
    #[must_use]
    pub fn is_ensemble(&self) -> bool {
        is_ensemble(&self.ensemble, self.standalone_enabled)
    }

    /// What a member of an ensemble needs, and what a member that runs alone must not have.
    pub(super) fn check(&self, keys: &mut Keys, own: Option<i64>) {
        let voters = self.ensemble.voters().count();
        // A line that is wrong has its own finding already, and its server may have been a voter.
        if !self.is_ensemble() && self.has_wrong_lines(keys) {
            return;
        }
        let observers = self.ensemble.members.len() - voters;
        let sid = self.ensemble.members.keys().next().copied().unwrap_or_default();
        let key = format!("server.{sid}");
        if observers > 0 && voters <= 1 {
            let text = format!("{key}: observers need an ensemble of several participants");
            keys.error(&key, text);
        } else if self.is_ensemble() {
            self.check_ensemble(keys, own);
        } else if !self.standalone_enabled {
            keys.error(
                "standaloneEnabled",
                "standaloneEnabled = false asks for a quorum of one, and there is no server line; add \
                 that of this member",
            );
        } else if voters == 1 {
            let text = format!("{key}: only one server specified (ignoring); running standalone");
            keys.warn(&key, text);
        }
    }

    /// Whether a server line of the file is none of [`QuorumSettings::ensemble`].
    pub(super) fn has_wrong_lines(&self, keys: &mut Keys) -> bool {
        let mut lines = keys.with_prefix("server.").into_iter().map(|(id, _)| id);
        lines.any(|id| {
            let is_member = |sid| self.ensemble.members.contains_key(&Sid(sid));
            id != "principal" && !id.parse().is_ok_and(is_member)
        })
    }

    fn check_ensemble(&self, keys: &mut Keys, own: Option<i64>) {
        for (key, ticks) in
            [("initLimit", self.init_limit_ticks), ("syncLimit", self.sync_limit_ticks)]
        {
            if ticks.is_none() {
                let text = format!("{key} is not set; an ensemble needs it, in ticks");
                keys.error(key, text);
            }
        }
        let voters = self.ensemble.voters().count();
        if voters.is_multiple_of(2) && !self.has_wrong_lines(keys) {
            let text = format!(
                "{voters} participants survive the loss of {}, as {} do; an odd number is better",
                (voters - 1) / 2,
                voters - 1
            );
            keys.warn("server", text);
        }
        match own {
            None => keys.error(
                "dataDir",
                "there is no file myid in dataDir; write the number of this member's server line into it",
            ),
            Some(own) if !(1..=255).contains(&own) => {
                keys.error("dataDir", format!("myid says {own}; it must be a number from 1 to 255"));
            }
            Some(own) => match self.ensemble.members.get(&Sid(own)) {
                // A line that is wrong has its own finding already.
                None if keys.values.contains_key(&format!("server.{own}")) => {}
                None => keys.error(
                    "dataDir",
                    format!("myid says {own}, and there is no line server.{own}; correct one of them"),
                ),
                Some(member) if member.role != self.peer_type => {
                    let text = format!(
                        "peerType is {}, and the line server.{own} says {}; the line counts",
                        self.peer_type, member.role
                    );
                    keys.warn("peerType", text);
                }
                Some(_) => {}
            },
        }
    }
}

fn is_ensemble(ensemble: &Ensemble, standalone_enabled: bool) -> bool {
    let voters = ensemble.voters().count();
    voters > 1 || voters == 1 && !standalone_enabled
}

fn local_sessions(keys: &mut Keys) -> Option<LocalSessions> {
    let is_enabled = keys.strict_bool("localSessionsEnabled", false);
    let upgrading = keys.strict_bool("localSessionsUpgradingEnabled", false);
    is_enabled.then_some(LocalSessions { upgrading })
}

/// A time in ms where -1 means that something else decides.
fn or_unset(keys: &mut Keys, key: &str) -> Option<u32> {
    u32::try_from(keys.num(key, -1, -1..=i32::MAX)).ok()
}

/// As in Apache, 0 and below mean none.
fn observer_master_port(keys: &mut Keys) -> Option<u16> {
    let port = keys.num("observerMasterPort", 0, i32::MIN..=i32::from(u16::MAX));
    u16::try_from(port).ok().filter(|port| *port > 0)
}

fn ensemble(keys: &mut Keys) -> Ensemble {
    let mut ensemble = Ensemble::default();
    for (id, value) in keys.with_prefix("server.") {
        let key = format!("server.{id}");
        // `server.principal` is a key of its own and no member.
        if key == "server.principal" {
            continue;
        }
        match (id.parse().map(Sid), Member::parse(&value.text)) {
            (Ok(sid), Ok(member)) => drop(ensemble.members.insert(sid, member)),
            (Err(_), _) => keys.reject(&key, &value, "what follows the dot must be a number"),
            (_, Err(error)) => keys.reject(&key, &value, &error.to_string()),
        }
    }
    for (id, value) in keys.with_prefix("group.") {
        let sids = value.text.split(':').map(|sid| sid.trim().parse().map(Sid));
        match (id.parse::<i64>(), sids.collect::<Result<Vec<_>, _>>()) {
            (Ok(group), Ok(sids)) => drop(ensemble.groups.insert(group, sids)),
            _ => keys.reject(&format!("group.{id}"), &value, "it must be sids with colons between"),
        }
    }
    for (id, value) in keys.with_prefix("weight.") {
        match (id.parse().map(Sid), value.text.parse::<i64>()) {
            (Ok(sid), Ok(weight)) => drop(ensemble.weights.insert(sid, weight)),
            _ => keys.reject(&format!("weight.{id}"), &value, "it must be a whole number"),
        }
    }
    if let Err(error) = ensemble.check() {
        let key = ensemble.groups.keys().next().map_or("weight".into(), |id| format!("group.{id}"));
        keys.error(&key, format!("{key}: {error}"));
    }
    ensemble
}
