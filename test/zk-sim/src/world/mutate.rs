//! Planted faults: what a wrong driver or pipeline would do. Each must be noticed.

use super::World;
use super::member::{Member, Out, tree_options};
use crate::record::{Picture, Record};
use crate::rng::Rng;
use crate::settings::{Mutant, Settings};
use crate::storage::{Found, picture};
use zk_proto::response::{MultiResponse, MultiResult, ReplyHeader};
use zk_proto::txn::TxnEntry;
use zk_proto::{Jute, Reader, SessionId, StatPersisted, Zxid};
use zk_tree::{Tree, TreeLoader, TreeOptions};

fn is_event(out: &Out) -> bool {
    matches!(out, Out::Send(_, _, false))
}

fn is_reply(out: &Out) -> bool {
    matches!(out, Out::Send(_, frame, true) if !frame.starts_with(&[0; 4]))
}

/// Changes what one turn of the pipeline wanted.
pub(super) fn outs(mutant: Mutant, member: &Member, outs: &mut Vec<Out>, rng: &mut Rng) {
    let at = outs.iter().position(is_event);
    match mutant {
        Mutant::EventAfterReply => outs.sort_by_key(is_event),
        Mutant::LostEvent if rng.chance(200) => drop(at.map(|at| outs.remove(at))),
        Mutant::DoubledEvent if rng.chance(200) => {
            if let Some(at) = at {
                outs.insert(at, outs[at].clone());
            }
        }
        Mutant::ForeignEvent => {
            if let Some(Out::Send(first, frame, _)) = at.map(|at| outs[at].clone()) {
                let others = member.conns.iter().filter(|(c, s)| **c != first && s.is_live);
                let more: Vec<_> =
                    others.map(|(conn, _)| Out::Send(*conn, frame.clone(), false)).collect();
                outs.splice(0..0, more);
            }
        }
        Mutant::LostReply if rng.chance(50) => {
            let at = outs.iter().position(is_reply);
            drop(at.map(|at| outs.remove(at)));
        }
        Mutant::SwappedReplies => swap(outs),
        Mutant::LostClose if rng.chance(500) => outs.retain(|out| !matches!(out, Out::Close(_))),
        Mutant::TornMulti => outs.iter_mut().for_each(tear),
        _ => {}
    }
}

/// Two replies to one connection change places.
fn swap(outs: &mut [Out]) {
    let replies: Vec<_> = (0..outs.len()).filter(|&at| is_reply(&outs[at])).collect();
    let to = |at: usize| if let Out::Send(conn, ..) = outs[at] { conn } else { 0 };
    let pair = replies.windows(2).find(|pair| to(pair[0]) == to(pair[1])).map(<[_]>::to_vec);
    if let Some(pair) = pair {
        outs.swap(pair[0], pair[1]);
    }
}

/// The first part of a failed multi says that it worked.
fn tear(out: &mut Out) {
    let Out::Send(_, frame, true) = out else { return };
    let mut r = Reader::new(frame);
    let (Ok(header), Ok(mut response)) = (ReplyHeader::read(&mut r), MultiResponse::read(&mut r))
    else {
        return;
    };
    let all_failed = response.results.iter().all(|r| matches!(r, MultiResult::Error(_)));
    if header.err == 0 && r.is_empty() && response.results.len() > 1 && all_failed {
        response.results[0] = MultiResult::Delete;
        let mut bytes = header.to_bytes();
        response.write(&mut bytes);
        *frame = bytes.into();
    }
}

/// The tree as it is now, for answering from it later.
pub(super) fn copy(member: &Member, settings: &Settings) -> Option<Tree> {
    let picture = picture(&member.tree, &[]);
    if picture.zxid < 5 {
        return None;
    }
    build(&picture, tree_options(settings))
}

/// The tree of a picture.
fn build(picture: &Picture, options: TreeOptions) -> Option<Tree> {
    let mut loader = TreeLoader::new(options);
    for p in &picture.nodes {
        let [czxid, mzxid, pzxid, ctime, mtime, ephemeral_owner] = p.longs;
        let [version, cversion, aversion] = p.versions;
        let stat = StatPersisted {
            czxid,
            mzxid,
            ctime,
            mtime,
            version,
            cversion,
            aversion,
            ephemeral_owner,
            pzxid,
        };
        loader.add(&p.path, p.data.as_deref(), &p.acl, stat).ok()?;
    }
    loader.finish(Zxid(picture.zxid)).ok()
}

/// Applies one of the latest transactions a second time.
pub(super) fn apply_again(world: &mut World) {
    let Some(member) = &mut world.member else { return };
    let last = member.tree.last_zxid().0;
    let recent = world.history.iter().rev().filter_map(|record| match record {
        Record::Appended { zxid, txn } if *zxid < last => Some(txn.clone()),
        _ => None,
    });
    let recent: Vec<_> = recent.take(8).collect();
    if recent.is_empty() {
        return;
    }
    let txn = world.rng.pick(&recent);
    if let Ok(entry) = TxnEntry::read(&mut Reader::new(txn)) {
        member.tree.apply(&entry.header, &entry.txn, &mut ());
    }
}

/// Changes what recovery found.
pub(super) fn found(mutant: Mutant, found: &mut Found, undead: &mut Option<(SessionId, i32)>) {
    match mutant {
        Mutant::ForgottenSession => drop(found.sessions.pop()),
        Mutant::Undead => match undead.take() {
            Some(session) if !found.sessions.contains(&session) => {
                found.sessions.push(session);
                found.sessions.sort_unstable();
            }
            _ => *undead = found.sessions.first().copied(),
        },
        Mutant::RewoundCounter | Mutant::ForgottenZnode => {
            let mut picture = picture(&found.tree, &[]);
            if mutant == Mutant::ForgottenZnode {
                picture.nodes.pop();
            } else {
                picture.nodes.iter_mut().for_each(|node| node.versions[1] /= 2);
            }
            if let Some(tree) = build(&picture, found.tree.options()) {
                found.tree = tree;
            }
        }
        _ => {}
    }
}
