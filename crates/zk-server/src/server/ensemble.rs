//! A member's start in its ensemble.

use super::StartError;
use crate::config::{QuorumSaslSettings, QuorumSettings, Role, ServerConfig};
use crate::engine::Engine;
use crate::inspect::Member;
use crate::net::Entrance;
use crate::quorum::{
    Driver, DriverParts, JoinOptions, ListenError, Ports, Quorum, QuorumOptions, QuorumThread,
    advertised, bind,
};
use crate::storage::{MAX_TXN_FACTOR, Storage};
use crate::tls::{MemberTls, SaslFileError, load_jaas, random_nonce};
use std::sync::Arc;
use std::time::{Duration, Instant};
use zk_proto::{Epoch, Limits, Sid};
use zk_quorum::election::ElectionPortOptions;
use zk_quorum::{DialOptions, Guard, Guards, QuorumSasl, QuorumSaslOptions};
use zk_sasl::{Account, JaasError, Users};
use zk_zab::election::ElectionTimes;
use zk_zab::leader::LeaderTimes;
use zk_zab::peer::PeerOptions;
use zk_zab::{Configs, Ensemble, MemberAddress};

/// The longest transaction that another member may send; memory is taken for what has come alone.
const MAX_PACKET_BYTES: usize = 256 << 20;

/// A member of an ensemble that does not look for a leader yet.
pub(super) struct Joined {
    quorum: Arc<Quorum>,
    ports: Ports,
    tls: Option<Arc<MemberTls>>,
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
        let logged = engine.tree.read().config().and_then(read_config);
        let logged = logged.filter(|logged| is_of_this(logged, config, sid));
        let options = options(config, sid, logged);
        let quorum = Quorum::new(
            options,
            Instant::now(),
            storage.appender(),
            engine.pipe.clone(),
            engine.metrics.clone(),
        );
        let tls = member_tls(config, &quorum)?;
        let ports = ports(config, sid, tls.clone())?;
        engine.join(quorum.clone());
        Ok(Some(Joined { quorum, ports, tls }))
    }

    pub(super) fn quorum(&self) -> Arc<Quorum> {
        self.quorum.clone()
    }

    /// What makes connections between members safe.
    pub(super) fn tls(&self) -> Option<Arc<MemberTls>> {
        self.tls.clone()
    }

    /// Begins to look for a leader.
    pub(super) fn start(
        self,
        member: &Member,
        entrance: Arc<Entrance>,
        storage: &Storage,
    ) -> Result<QuorumThread, StartError> {
        // As for the own log: a closeSession is as long as the paths of all ephemerals.
        let max_len =
            MAX_PACKET_BYTES.max(MAX_TXN_FACTOR * member.config.storage.max_request_bytes as usize);
        let addresses = addresses(&member.config, self.quorum.sid());
        let driver =
            Driver::new(DriverParts {
                quorum: self.quorum,
                engine: member.engine.clone(),
                history: storage.history(&member.snapshots, &member.engine),
                snapshots: member.snapshots.clone(),
                limits: Limits { max_len },
                is_damaged: storage.is_damaged(),
                founds_unasked: member.config.quorum.founds_unasked,
                patience: Duration::from_millis(times(&member.config).sync_ms),
                // As long as in Apache (`QuorumPeer.run`).
                alone_after: member.config.quorum.reads_alone.then(|| {
                    Duration::from_millis(u64::from(member.config.tick_time_ms).max(2000))
                }),
                is_listed: member.config.quorum.ensemble.version > 0,
                addresses,
                entrance,
                backlog: member.config.listeners.backlog(),
                files: member.config.quorum.files.clone(),
            });
        driver.start(self.ports).map_err(StartError::Thread)
    }
}

/// Where a member is, by its own configuration.
fn addresses(config: &ServerConfig, sid: Sid) -> Vec<MemberAddress> {
    let own = config.quorum.ensemble.members.get(&sid);
    own.map(|own| own.addresses.clone()).unwrap_or_default()
}

fn member_tls(
    config: &ServerConfig,
    quorum: &Arc<Quorum>,
) -> Result<Option<Arc<MemberTls>>, StartError> {
    let Some(settings) = &config.quorum.tls else { return Ok(None) };
    let quorum = quorum.clone();
    let hosts = move || {
        let members = quorum.configs();
        let members = members.all().flat_map(|config| config.members.values());
        members.flat_map(|member| &member.addresses).map(|address| address.host.clone()).collect()
    };
    Ok(Some(Arc::new(MemberTls::new(settings.clone(), Arc::new(hosts))?)))
}

/// As whom this member comes to others, and who may come to it.
fn member_sasl(settings: &QuorumSaslSettings) -> Result<QuorumSasl, SaslFileError> {
    let jaas = load_jaas(&settings.file)?;
    let read = || {
        // As in Apache, both sections must do, whatever is required.
        jaas.must_be_digest(&settings.learner_section)?;
        jaas.must_be_digest(&settings.server_section)?;
        let account = Account::read(&jaas, &settings.learner_section)?;
        let users = Users::read(&jaas, &settings.server_section)?;
        Result::<_, JaasError>::Ok((account, users))
    };
    let (account, users) = read()?;
    Ok(QuorumSasl::new(QuorumSaslOptions {
        account: settings.learner_requires.then_some(account),
        users: Arc::new(users),
        admits_strangers: !settings.server_requires,
        nonce: random_nonce,
    }))
}

fn ports(
    config: &ServerConfig,
    sid: Sid,
    tls: Option<Arc<MemberTls>>,
) -> Result<Ports, StartError> {
    let settings = &config.quorum;
    let addresses = addresses(config, sid);
    let bound = bind(&addresses, settings.listen_on_all)
        .map_err(|ListenError { address, source }| StartError::Listen { address, source })?;
    let connect_timeout = Duration::from_millis(settings.connect_timeout_ms.into());
    let sasl = settings.sasl.as_ref().map(member_sasl).transpose()?;
    let guards = Guards { guard: tls.map(|tls| tls as Arc<dyn Guard>), sasl: sasl.map(Arc::new) };
    let dial =
        DialOptions { patience: connect_timeout, keep_alive: settings.tcp_keep_alive, guards };
    let times = times(config);
    let greeting_ms = settings.quorum_timeout_ms.map_or(times.sync_ms, u64::from);
    let patience_ms = match settings.connect_limit_ticks {
        Some(ticks) => u64::from(ticks) * times.tick_ms,
        None => times.init_ms,
    };
    Ok(Ports {
        bound,
        on_all: settings.listen_on_all,
        observer_master: settings.observer_master_port,
        options: ElectionPortOptions {
            me: sid,
            advertised: advertised(&addresses),
            dial: dial.clone(),
            greeting_timeout: Duration::from_millis(greeting_ms),
        },
        join: JoinOptions {
            dial: DialOptions { keep_alive: false, ..dial },
            pause: Duration::from_millis(settings.leader_connect_delay_ms.into()),
            patience: Duration::from_millis(patience_ms),
        },
    })
}

fn options(config: &ServerConfig, sid: Sid, logged: Option<Ensemble>) -> QuorumOptions {
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
        accepts_configs: config.quorum.reconfig_enabled,
        election,
        times: times(config),
        epoch_floor: Epoch(0),
        admits_strangers: true,
        window,
        feeds: config.quorum.observer_master_port.is_some(),
    };
    let mut configs = Configs::new(ensemble.clone());
    // A change that is logged may be committed. What its file says of it may be missing.
    let proposed = config.quorum.proposed.iter().chain(&logged).max_by_key(|it| it.version);
    if let Some(proposed) = proposed.filter(|_| config.quorum.reconfig_enabled) {
        configs.propose(proposed.clone());
    }
    let standalone_enabled = config.quorum.standalone_enabled;
    QuorumOptions { peer, configs, window, standalone_enabled }
}

/// Whether a configuration that is in the tree is one of this ensemble, and not one of another that
/// the tree was copied from (DESIGN R12): changes have been made here, and this member is in it
/// where it is.
fn is_of_this(logged: &Ensemble, config: &ServerConfig, sid: Sid) -> bool {
    let present = &config.quorum.ensemble;
    if logged.version <= present.version {
        return false;
    }
    let at = |ensemble: &Ensemble| ensemble.members.get(&sid).map(|it| it.addresses.clone());
    let is_of_this = present.version > 0 && at(logged).is_some() && at(logged) == at(present);
    if !is_of_this {
        tracing::warn!(
            "the data hold the configuration of version {:x}, which is not this ensemble's: it is left \
             alone, and the files of the configuration count",
            logged.version
        );
    }
    is_of_this
}

/// What the znode of the configuration says.
fn read_config(text: &[u8]) -> Option<Ensemble> {
    Ensemble::parse(std::str::from_utf8(text).ok()?).ok()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Options, parse};

    const HERE: &str = "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2";

    fn config(version: i64) -> ServerConfig {
        let text = format!("dataDir=/d\nclientPort=9\ninitLimit=5\nsyncLimit=2\n{HERE}\n");
        let options = Options { server_id: Some(1), ..Options::default() };
        let mut config = parse("zoo.cfg", text.as_bytes(), &[], options).unwrap().config;
        config.quorum.ensemble.version = version;
        config
    }

    #[test]
    fn a_configuration_that_came_with_copied_data_is_left_alone() {
        let read = |text: &str| read_config(text.as_bytes()).unwrap();
        let own = format!("{HERE}\nserver.4=d:1:2\nversion=100000007");
        assert!(is_of_this(&read(&own), &config(5), Sid(1)));
        assert!(!is_of_this(&read(&own), &config(0), Sid(1)), "nothing was ever changed here");
        assert!(!is_of_this(&read(&own), &config(0x1_0000_0007), Sid(1)), "it counts already");
        let elsewhere = own.replace("a:1:2", "z:1:2");
        assert!(!is_of_this(&read(&elsewhere), &config(5), Sid(1)), "another's");
        let without = own.replace("server.1=a:1:2\n", "");
        assert!(!is_of_this(&read(&without), &config(5), Sid(1)), "it knows no such member");
    }
}
