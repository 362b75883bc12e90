//! A member's start in its ensemble.

use super::StartError;
use crate::config::{DEFAULT_BACKLOG, HostPort, QuorumSettings, Role, ServerConfig};
use crate::engine::Engine;
use crate::inspect::Member;
use crate::net;
use crate::quorum::{Driver, DriverParts, JoinOptions, Ports, Quorum, QuorumOptions, QuorumThread};
use crate::storage::{MAX_TXN_FACTOR, Storage};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};
use zk_proto::{Epoch, Limits, Sid};
use zk_quorum::election::ElectionPortOptions;
use zk_zab::election::ElectionTimes;
use zk_zab::leader::LeaderTimes;
use zk_zab::peer::PeerOptions;
use zk_zab::{Configs, MemberAddress};

/// The longest transaction that another member may send; memory is taken for what has come alone.
const MAX_PACKET_BYTES: usize = 256 << 20;

/// A member of an ensemble that does not look for a leader yet.
pub(super) struct Joined {
    quorum: Arc<Quorum>,
    ports: Ports,
}

impl Joined {
    /// Opens the ports for other members, and makes the member one of them; `None` if it is alone.
    /// Before anything is logged.
    pub(super) fn new(
        config: &ServerConfig,
        engine: &Arc<Engine>,
        storage: &Storage,
    ) -> Result<Option<Joined>, StartError> {
        let Some(sid) = sid(config) else { return Ok(None) };
        let ports = bind(config, sid)?;
        let options = options(config, sid);
        let quorum = Quorum::new(
            options,
            Instant::now(),
            storage.appender(),
            engine.pipe.clone(),
            engine.metrics.clone(),
        );
        engine.join(quorum.clone());
        Ok(Some(Joined { quorum, ports }))
    }

    pub(super) fn quorum(&self) -> Arc<Quorum> {
        self.quorum.clone()
    }

    /// Begins to look for a leader.
    pub(super) fn start(
        self,
        member: &Member,
        storage: &Storage,
    ) -> Result<QuorumThread, StartError> {
        // As for the own log: a closeSession is as long as the paths of all ephemerals.
        let max_len =
            MAX_PACKET_BYTES.max(MAX_TXN_FACTOR * member.config.storage.max_request_bytes as usize);
        let driver = Driver::new(DriverParts {
            quorum: self.quorum,
            engine: member.engine.clone(),
            history: storage.history(&member.snapshots, &member.engine),
            snapshots: member.snapshots.clone(),
            limits: Limits { max_len },
            is_damaged: storage.is_damaged(),
        });
        driver.start(self.ports).map_err(StartError::Thread)
    }
}

fn bind(config: &ServerConfig, sid: Sid) -> Result<Ports, StartError> {
    let settings = &config.quorum;
    let addresses =
        settings.ensemble.members.get(&sid).map(|own| own.addresses.clone()).unwrap_or_default();
    let listen_on = |port: fn(&MemberAddress) -> u16| -> Result<Vec<TcpListener>, StartError> {
        let mut listeners = Vec::new();
        for address in &addresses {
            let host = if settings.listen_on_all { "0.0.0.0" } else { &address.host };
            let address = HostPort { host: host.to_owned(), port: port(address) };
            let listener = net::listen(&address, DEFAULT_BACKLOG);
            listeners.push(listener.map_err(|source| StartError::Listen { address, source })?);
        }
        Ok(listeners)
    };
    let advertised = addresses
        .iter()
        .map(|address| HostPort { host: address.host.clone(), port: address.election_port })
        .collect();
    let connect_timeout = Duration::from_millis(settings.connect_timeout_ms.into());
    let times = times(config);
    let greeting_ms = settings.quorum_timeout_ms.map_or(times.sync_ms, u64::from);
    let patience_ms = match settings.connect_limit_ticks {
        Some(ticks) => u64::from(ticks) * times.tick_ms,
        None => times.init_ms,
    };
    Ok(Ports {
        quorum: listen_on(|address| address.quorum_port)?,
        election: listen_on(|address| address.election_port)?,
        options: ElectionPortOptions {
            me: sid,
            advertised,
            connect_timeout,
            greeting_timeout: Duration::from_millis(greeting_ms),
            keep_alive: settings.tcp_keep_alive,
        },
        join: JoinOptions {
            connect_timeout,
            pause: Duration::from_millis(settings.leader_connect_delay_ms.into()),
            patience: Duration::from_millis(patience_ms),
        },
    })
}

fn options(config: &ServerConfig, sid: Sid) -> QuorumOptions {
    let QuorumSettings { ensemble, notification_interval_ms, .. } = &config.quorum;
    let role = ensemble.members.get(&sid).map_or(Role::Observer, |own| own.role);
    let (resend_min_ms, resend_max_ms) = *notification_interval_ms;
    let election = ElectionTimes {
        resend_min_ms: resend_min_ms.into(),
        resend_max_ms: resend_max_ms.into(),
        ..ElectionTimes::default()
    };
    let window = config.quorum.commit_log_count as usize;
    let peer = PeerOptions {
        sid,
        role,
        accepts_configs: false,
        election,
        times: times(config),
        epoch_floor: Epoch(0),
        admits_strangers: true,
        window,
    };
    QuorumOptions { peer, configs: Configs::new(ensemble.clone()), window }
}

fn sid(config: &ServerConfig) -> Option<Sid> {
    config.server_id.filter(|_| config.quorum.is_ensemble()).map(Sid)
}

fn times(config: &ServerConfig) -> LeaderTimes {
    let tick_ms = u64::from(config.tick_time_ms);
    let ticks = |ticks: Option<u32>| u64::from(ticks.unwrap_or(1)) * tick_ms;
    LeaderTimes {
        tick_ms,
        init_ms: ticks(config.quorum.init_limit_ticks),
        sync_ms: ticks(config.quorum.sync_limit_ticks),
    }
}
