//! What tests of connections between members have in common.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use zk_proto::Epoch;
use zk_proto::quorum::{FromLearner, LearnerInfo};
use zk_proto::request::CreateMode;
use zk_testkit::{Engine, Ensemble, Error, PATIENCE};

pub(crate) const SESSION_MS: i32 = 15_000;

/// Who issues certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Authority(CertifiedIssuer::self_signed(params, key).expect("an authority"))
    }

    /// A key store of a member at this address, and the lines of `zoo.cfg` that name it.
    pub(crate) fn issue(&self, dir: &Path, name: &str, address: &str) -> Vec<String> {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new([address.to_owned()]).expect("a name");
        let chain = params.signed_by(&key, &self.0).expect("a certificate").pem();
        let (own, trust) = (dir.join(format!("{name}.pem")), dir.join(format!("{name}-trust.pem")));
        fs::write(&own, format!("{chain}{}", key.serialize_pem())).expect("a key store");
        fs::write(&trust, self.0.pem()).expect("a trust store");
        vec![
            "sslQuorum=true".to_owned(),
            format!("ssl.quorum.keyStore.location={}", own.display()),
            format!("ssl.quorum.trustStore.location={}", trust.display()),
        ]
    }
}

pub(crate) fn start(engines: &[Engine], lines: &[String]) -> Result<Ensemble, Error> {
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    Ensemble::start(engines, &lines)
}

/// Writes through each member, also after the leader was killed, and after one was wiped.
pub(crate) fn works(ensemble: &mut Ensemble) -> Result<(), Error> {
    let write = |ensemble: &Ensemble, name: &str| -> Result<(), Error> {
        for sid in ensemble.sids() {
            if ensemble.dead().contains(&sid) {
                continue;
            }
            let mut client = ensemble.connect(sid, SESSION_MS)?;
            for n in 0..20 {
                let path = format!("/{name}-{sid}-{n}");
                client.create(&path, &[7; 10_000], CreateMode::Persistent)?;
            }
            client.close()?;
        }
        Ok(())
    };
    write(ensemble, "first")?;
    let leader = ensemble.leader()?;
    ensemble.member(leader)?.kill()?;
    write(ensemble, "without")?;
    // It gets a snapshot.
    ensemble.wipe(leader)?;
    ensemble.restart(&[leader])?;
    write(ensemble, "again")?;
    let sids = ensemble.sids();
    let first = ensemble.tree(sids[0])?;
    for sid in &sids[1..] {
        assert_eq!(ensemble.tree(*sid)?, first, "server {sid}");
    }
    Ok(())
}

/// Whether a stranger that shows nothing gets no word on a quorum port.
pub(crate) fn refuses_stranger(addr: SocketAddr) -> bool {
    let mut stream = TcpStream::connect(addr).expect("a port");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut hello = Vec::new();
    let info = LearnerInfo { sid: 9, protocol_version: 0x10000, config_version: 0 };
    FromLearner::Info { is_observer: true, accepted_epoch: Epoch(0), info: Some(info) }
        .put(&mut hello);
    if stream.write_all(&hello).is_err() {
        return true;
    }
    match stream.read(&mut [0; 64]) {
        Ok(0) => true,
        Ok(_) => false,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

pub(crate) fn quorum_ports(ensemble: &Ensemble) -> Vec<SocketAddr> {
    let sids = ensemble.sids();
    let lines = sids.iter().filter_map(|sid| ensemble.line(*sid, "participant").ok());
    let port = |line: String| line.split(':').nth(1).and_then(|port| port.parse().ok());
    lines.filter_map(port).map(|port: u16| SocketAddr::from(([127, 0, 0, 1], port))).collect()
}
