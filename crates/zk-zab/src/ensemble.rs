//! The configuration of an ensemble: who its members are, and which of them together are a quorum
//! (quorum-protocol 2.8, 13.1). Mirrors `QuorumMaj` and `QuorumHierarchical`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use zk_proto::Sid;

use crate::{Member, MemberError, Role};

/// The members that a configuration names.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ensemble {
    /// The zxid of the reconfiguration that made it; 0 for one that comes from a file.
    pub version: i64,
    /// By sid.
    pub members: BTreeMap<Sid, Member>,
    /// `group.N`: the sids of a group; with groups or weights the quorum is hierarchical.
    pub groups: BTreeMap<i64, Vec<Sid>>,
    /// `weight.N`; 1 when missing, 0 never counts.
    pub weights: BTreeMap<Sid, i64>,
}

/// Why a text is no configuration.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnsembleError {
    /// A line without an equals sign.
    #[error("{0:?} is no key=value")]
    Line(String),
    /// A key that configurations do not have.
    #[error("{0}: no key of a configuration")]
    Key(String),
    /// A value that is no number.
    #[error("{key}: {value} is no number")]
    Number {
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
    /// A member's line.
    #[error("{key}: {error}")]
    Member {
        /// The key.
        key: String,
        /// What is wrong with the value.
        error: MemberError,
    },
    /// A member in two groups.
    #[error("server {0} is in several groups; leave it in one")]
    Groups(Sid),
    /// Groups or weights, and a participant in no group.
    #[error("server {0} is in no group; give it one, or remove all groups and weights")]
    NoGroup(Sid),
}

impl Ensemble {
    /// Reads the text of `/zookeeper/config`, of a notification or of a dynamic file.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(text: &str) -> Result<Ensemble, EnsembleError> {
        let mut ensemble = Ensemble::default();
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with(['#', '!']) {
                continue;
            }
            let (key, value) =
                line.split_once('=').ok_or_else(|| EnsembleError::Line(line.to_owned()))?;
            ensemble.take(key.trim(), value.trim())?;
        }
        ensemble.check()?;
        Ok(ensemble)
    }

    fn take(&mut self, key: &str, value: &str) -> Result<(), EnsembleError> {
        let number = |text: &str| {
            text.trim()
                .parse::<i64>()
                .map_err(|_| EnsembleError::Number { key: key.to_owned(), value: text.to_owned() })
        };
        if let Some(sid) = key.strip_prefix("server.") {
            let member = Member::parse(value)
                .map_err(|error| EnsembleError::Member { key: key.to_owned(), error })?;
            self.members.insert(Sid(number(sid)?), member);
        } else if let Some(group) = key.strip_prefix("group.") {
            let sids = value.split(':').map(|sid| number(sid).map(Sid));
            self.groups.insert(number(group)?, sids.collect::<Result<_, _>>()?);
        } else if let Some(sid) = key.strip_prefix("weight.") {
            self.weights.insert(Sid(number(sid)?), number(value)?);
        } else if key == "version" {
            // A zxid; what is below 0 would be printed as something else.
            let version = i64::from_str_radix(value, 16).ok().filter(|version| *version >= 0);
            self.version = version.ok_or_else(|| EnsembleError::Number {
                key: key.to_owned(),
                value: value.to_owned(),
            })?;
        } else {
            return Err(EnsembleError::Key(key.to_owned()));
        }
        Ok(())
    }

    /// What cannot be seen from one line alone.
    ///
    /// # Errors
    /// Where each participant is not in exactly one group, if there are any.
    pub fn check(&self) -> Result<(), EnsembleError> {
        let mut seen = BTreeSet::new();
        for sid in self.groups.values().flatten() {
            if !seen.insert(*sid) {
                return Err(EnsembleError::Groups(*sid));
            }
        }
        match self.voters().find(|sid| !seen.contains(sid)) {
            Some(sid) if self.is_hierarchical() => Err(EnsembleError::NoGroup(sid)),
            _ => Ok(()),
        }
    }

    /// Who votes.
    pub fn voters(&self) -> impl Iterator<Item = Sid> {
        self.members.iter().filter(|(_, m)| m.role == Role::Participant).map(|(sid, _)| *sid)
    }

    /// Whether this one votes.
    #[must_use]
    pub fn is_voter(&self, sid: Sid) -> bool {
        self.members.get(&sid).is_some_and(|member| member.role == Role::Participant)
    }

    /// Whether groups and weights decide, and not the number of voters.
    #[must_use]
    pub fn is_hierarchical(&self) -> bool {
        !self.groups.is_empty() || !self.weights.is_empty()
    }

    /// How much a member's vote counts. Who has no weight cannot lead.
    #[must_use]
    pub fn weight(&self, sid: Sid) -> i64 {
        if !self.is_voter(sid) {
            return 0;
        }
        if !self.is_hierarchical() {
            return 1;
        }
        self.weights.get(&sid).copied().unwrap_or(1)
    }

    /// Whether the voters among these are a quorum: more than half of the voters, or of the groups
    /// with a weight, each by more than half of its weight.
    #[must_use]
    pub fn has_quorum(&self, sids: &BTreeSet<Sid>) -> bool {
        if !self.is_hierarchical() {
            let all = self.voters().count();
            return self.voters().filter(|sid| sids.contains(sid)).count() > all / 2;
        }
        let weight = |sids: &mut dyn Iterator<Item = &Sid>| -> i128 {
            sids.map(|sid| i128::from(self.weight(*sid))).sum()
        };
        let (mut groups, mut won) = (0, 0);
        for group in self.groups.values() {
            let all = weight(&mut group.iter());
            if all > 0 {
                groups += 1;
                won += usize::from(
                    weight(&mut group.iter().filter(|sid| sids.contains(sid))) > all / 2,
                );
            }
        }
        won > groups / 2
    }

    /// Whether the members, groups and weights are the same, whatever the versions.
    #[must_use]
    pub fn is_same_as(&self, other: &Ensemble) -> bool {
        (&self.members, &self.groups, &self.weights)
            == (&other.members, &other.groups, &other.weights)
    }
}

/// The text of `/zookeeper/config`, the version last and in hexadecimal.
impl fmt::Display for Ensemble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (sid, member) in &self.members {
            writeln!(f, "server.{sid}={member}")?;
        }
        for (group, sids) in &self.groups {
            let sids: Vec<String> = sids.iter().map(Sid::to_string).collect();
            writeln!(f, "group.{group}={}", sids.join(":"))?;
        }
        for (sid, weight) in &self.weights {
            writeln!(f, "weight.{sid}={weight}")?;
        }
        write!(f, "version={:x}", self.version)
    }
}

/// The configuration that counts and, during a reconfiguration, the one that is to come: then
/// everything that needs a quorum needs one of each (quorum-protocol 13.2).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Configs {
    /// What is committed.
    pub committed: Ensemble,
    /// What was proposed last, if that is newer.
    pub proposed: Option<Ensemble>,
}

impl Configs {
    /// One configuration and none to come.
    #[must_use]
    pub fn new(committed: Ensemble) -> Configs {
        Configs { committed, proposed: None }
    }

    /// A configuration is proposed, in the place of any other: what a leader does not know of is
    /// committed nowhere. One that is no newer than the committed one is nothing to wait for.
    pub fn propose(&mut self, config: Ensemble) {
        self.proposed = Some(config).filter(|config| config.version > self.committed.version);
    }

    /// A configuration is committed. One that was proposed behind it stays.
    pub fn activate(&mut self, config: Ensemble) {
        self.proposed.take_if(|proposed| proposed.version <= config.version);
        self.committed = config;
    }

    /// Each that needs a quorum.
    pub fn all(&self) -> impl Iterator<Item = &Ensemble> {
        let proposed = self.proposed.iter().filter(|it| it.version > self.committed.version);
        std::iter::once(&self.committed).chain(proposed)
    }

    /// Whether there is a quorum of each.
    #[must_use]
    pub fn has_quorum(&self, sids: &BTreeSet<Sid>) -> bool {
        self.all().all(|ensemble| ensemble.has_quorum(sids))
    }

    /// Who votes in either (`getCurrentAndNextConfigVoters`).
    #[must_use]
    pub fn voters(&self) -> BTreeSet<Sid> {
        self.all().flat_map(Ensemble::voters).collect()
    }

    /// Whether a vote for this one can count (`getWeight` in `totalOrderPredicate`).
    #[must_use]
    pub fn may_lead(&self, sid: Sid) -> bool {
        self.all().any(|ensemble| ensemble.weight(sid) > 0)
    }

    /// Whether this one votes in either.
    #[must_use]
    pub fn is_voter(&self, sid: Sid) -> bool {
        self.all().any(|ensemble| ensemble.is_voter(sid))
    }
}

#[cfg(test)]
mod tests;
