//! Members that run together, on one zoo.cfg; a standalone server is an ensemble of one.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::compare::check_of;
use crate::compare::running::{Prepared, Running};
use crate::compare::server::{Host, Server};
use crate::error::{Error, Result};
use crate::net::{dial, free_ports};
use crate::run::Target;

/// A JVM has to start and to be elected.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// A session and a write that a JVM has just begun with may take it seconds on busy processors; to
/// begin anew would cost it more.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);
/// Apache gives up an unreachable leader after `syncLimit` ticks, 10 s, and elects another.
const ELECTION_DEADLINE: Duration = Duration::from_secs(60);
/// Between two questions who leads.
const BETWEEN: Duration = Duration::from_millis(5);
/// A member that does not say at once what it is may be stopped.
const MODE_PATIENCE: Duration = Duration::from_millis(500);
/// The znode of the first write.
const FIRST: &str = "/zkfleet-bench-first";

/// A member's part, as far as loads choose by it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// It orders all writes.
    Leader,
    /// It passes them on.
    Follower,
}

/// Members that run. Dropping it kills them and removes their files.
pub struct Ensemble<'a> {
    host: &'a Host,
    server: &'a Server,
    /// What every member's zoo.cfg says of the others.
    quorum: Vec<String>,
    members: Vec<Running>,
}

/// The lines that make servers an ensemble, for members with these quorum and election ports.
#[must_use]
pub fn quorum_lines(ports: &[(u16, u16)]) -> Vec<String> {
    if ports.len() < 2 {
        return Vec::new();
    }
    let member = |(sid, (quorum, election)): (usize, &(u16, u16))| {
        format!("server.{sid}=127.0.0.1:{quorum}:{election}")
    };
    // The limits of Apache's sample configuration.
    let limits = ["initLimit=10".to_owned(), "syncLimit=5".to_owned()];
    limits.into_iter().chain((1..).zip(ports).map(member)).collect()
}

impl<'a> Ensemble<'a> {
    /// Starts `size` members at one moment, on new directories.
    pub fn start(
        host: &'a Host,
        server: &'a Server,
        size: usize,
        further: &[String],
    ) -> Result<Ensemble<'a>> {
        let ports = free_ports(3 * size)?;
        let (clients, others) = ports.split_at(size);
        let others: Vec<_> = others.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
        let quorum = quorum_lines(&others);
        let lines = [&quorum, further].concat();
        let prepared = (1..).zip(clients).map(|(sid, port)| {
            Prepared::new(host, server, *port, &lines, (size > 1).then_some(sid))
        });
        let prepared = prepared.collect::<Result<Vec<_>>>()?;
        if let Some(first) = prepared.first() {
            first.settle_disk()?;
        }
        let members = prepared.into_iter().map(Prepared::launch).collect::<Result<_>>()?;
        Ok(Ensemble { host, server, quorum, members })
    }

    /// Waits until every member answers for `path`; returns the time since its start that the
    /// slowest took.
    pub fn first_answer(&mut self, path: &str) -> Result<Duration> {
        let mut slowest = Duration::ZERO;
        for member in &mut self.members {
            slowest = slowest.max(member.first_answer(path)?);
        }
        Ok(slowest)
    }

    /// Writes as soon as any member lets it; returns the time since the start of the first.
    pub fn first_write(&mut self) -> Result<Duration> {
        let started = self.members.iter().map(Running::started).min();
        let addrs = self.addrs();
        let alive = || self.members.iter_mut().try_for_each(Running::check_alive);
        let write = |client: &mut Client| client.create_all(FIRST);
        let at = Client::first(&addrs, START_DEADLINE, WRITE_PATIENCE, alive, write)?;
        Ok(started.map_or(Duration::ZERO, |started| at - started))
    }

    /// A member, numbered from 0.
    pub fn member(&mut self, index: usize) -> &mut Running {
        &mut self.members[index]
    }

    /// Kills a member, if it still runs, and starts it again on its files.
    pub fn restart(&mut self, index: usize, further: &[String]) -> Result<()> {
        let lines = [&self.quorum, further].concat();
        self.members[index].restart(self.host, &lines)
    }

    /// The load's view of it: sessions are spread over all members.
    #[must_use]
    pub fn target(&self) -> Target {
        self.target_of(self.addrs())
    }

    /// All sessions at one member of this role; the costs are still those of all members.
    pub fn target_at(&self, role: Role) -> Result<Target> {
        let leader = self.leader(None)?;
        let index = match role {
            Role::Leader => leader,
            Role::Follower => self.follower_of(leader),
        };
        Ok(self.target_of(vec![self.members[index].addr()]))
    }

    /// A member other than the leader.
    #[must_use]
    pub fn follower_of(&self, leader: usize) -> usize {
        (leader + 1) % self.members.len()
    }

    /// Who leads, as soon as somebody other than `except` does.
    pub fn leader(&self, except: Option<usize>) -> Result<usize> {
        let asked = (0..self.members.len()).filter(|index| Some(*index) != except);
        let begin = Instant::now();
        while begin.elapsed() < ELECTION_DEADLINE {
            let leads = |index: &usize| mode(self.members[*index].addr()).is_some_and(is_leader);
            if let Some(leader) = asked.clone().find(leads) {
                return Ok(leader);
            }
            std::thread::sleep(BETWEEN);
        }
        let what = format!("a leader of {}", self.server.name);
        Err(Error::Timeout { what, seconds: ELECTION_DEADLINE.as_secs() })
    }

    /// Waits until a member that had led has understood that it does not any more.
    pub fn wait_until_follows(&self, index: usize) -> Result<()> {
        let begin = Instant::now();
        while mode(self.members[index].addr()).is_none_or(is_leader) {
            if begin.elapsed() > ELECTION_DEADLINE {
                let what = format!("member {} of {} to follow", index + 1, self.server.name);
                return Err(Error::Timeout { what, seconds: ELECTION_DEADLINE.as_secs() });
            }
            std::thread::sleep(BETWEEN);
        }
        Ok(())
    }

    /// Whether all processes run.
    pub fn is_alive(&mut self) -> bool {
        self.members.iter_mut().all(Running::is_alive)
    }

    /// The ends of the logs of all members that said anything.
    #[must_use]
    pub fn last_words(&self) -> String {
        let words = self.members.iter().map(Running::last_words).filter(|words| !words.is_empty());
        words.collect::<Vec<_>>().join("; ")
    }

    /// Asks all to end, and kills those that do not.
    pub fn stop(self) {
        self.members.into_iter().for_each(Running::stop);
    }

    fn addrs(&self) -> Vec<SocketAddr> {
        self.members.iter().map(Running::addr).collect()
    }

    fn target_of(&self, addrs: Vec<SocketAddr>) -> Target {
        let pids = self.members.iter().map(Running::pid).collect();
        Target { addrs, pids, check: check_of(self.server) }
    }
}

fn is_leader(mode: String) -> bool {
    mode == "leader"
}

/// What a member says that it is; nothing while it serves nobody.
fn mode(addr: SocketAddr) -> Option<String> {
    let mut stream = dial(addr, MODE_PATIENCE).ok()?;
    stream.write_all(b"srvr").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.lines().find_map(|line| line.strip_prefix("Mode: ")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_member_needs_no_lines_and_several_name_each_other() {
        assert!(quorum_lines(&[(1, 2)]).is_empty());
        let lines = quorum_lines(&[(1, 2), (3, 4)]);
        let members = ["server.1=127.0.0.1:1:2", "server.2=127.0.0.1:3:4"];
        assert_eq!(lines[lines.len() - 2..], members);
    }
}
