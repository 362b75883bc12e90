//! B1 Exactness: what a restart finds, what a snapshot holds and what the member has is the model's
//! state at that zxid, to the last field of every znode and session.

use super::{Invariant, shown};
use crate::model::acl;
use crate::model::state::{State, Znode};
use crate::oracle::Oracle;
use crate::record::{Picture, Portrait, Record};
use std::rc::Rc;

/// See the module.
#[derive(Debug)]
pub(super) struct Exact;

fn portrait((path, node): (&str, &Znode)) -> Portrait {
    Portrait {
        path: path.into(),
        data: node.data.clone(),
        acl: acl::encode(&node.acl),
        longs: [node.czxid, node.mzxid, node.pzxid, node.ctime, node.mtime, node.owner.stored()],
        versions: [node.version, node.children_created, node.aversion],
    }
}

/// What differs, in words.
fn difference(picture: &Picture, state: &State) -> Option<String> {
    let mine: Vec<_> = state.nodes.iter().map(|(path, node)| portrait((path, node))).collect();
    let odd = |list: &[Portrait], other: &[Portrait]| {
        list.iter().find(|portrait| !other.contains(portrait)).map(|p| {
            let data = p.data.as_deref().map_or("null".into(), shown);
            let acl = shown(&p.acl);
            format!("{} \"{data}\" {acl} {:x?} {:?}", p.path, p.longs, p.versions)
        })
    };
    let (extra, missing) = (odd(&picture.nodes, &mine), odd(&mine, &picture.nodes));
    let sessions: Vec<_> = state.sessions.iter().map(|(id, timeout)| (*id, *timeout)).collect();
    if extra.is_some() || missing.is_some() {
        return Some(format!(
            "{} instead of {}",
            extra.unwrap_or_default(),
            missing.unwrap_or_default()
        ));
    }
    if picture.nodes.len() != mine.len() {
        return Some("a znode is there twice".into());
    }
    (picture.sessions != sessions)
        .then(|| format!("sessions {:x?} instead of {sessions:x?}", picture.sessions))
}

impl Invariant for Exact {
    fn name(&self) -> &'static str {
        "B1 exactness"
    }

    fn check(&mut self, record: &Record, oracle: &Oracle) -> Result<(), String> {
        let (Record::Started { picture, .. }
        | Record::Inspected { picture }
        | Record::Snapshotted { picture }) = record
        else {
            return Ok(());
        };
        let Some(state) = oracle.state(picture.zxid) else {
            return Err(format!("there never was a state {:x}: {record}", picture.zxid));
        };
        // What was loaded has counted the usages of quotas afresh.
        let mut picture = picture.clone();
        let mut state = state.clone();
        if matches!(record, Record::Snapshotted { .. }) {
            let usages = Rc::make_mut(&mut picture).nodes.iter_mut().filter(|node| node.is_usage());
            for usage in usages {
                usage.data = None;
                if let Some(node) = Rc::make_mut(&mut state).node_mut(&usage.path) {
                    node.data = None;
                }
            }
        }
        match difference(&picture, &state) {
            Some(difference) => Err(format!("{record}: {difference}")),
            None => Ok(()),
        }
    }
}
