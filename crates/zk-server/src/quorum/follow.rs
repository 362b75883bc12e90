//! What a learner wants done.

use zk_zab::learner::Output as Learn;

use super::state::{Chore, Held};
use crate::engine::Lesson;

impl Held<'_> {
    pub(super) fn follow(&mut self, outputs: Vec<Learn<'_>>) {
        let feeds = self.state.peer.fed_upto().is_some();
        let (mut appended, mut lessons) = (None, Vec::new());
        let mut said = Vec::new();
        for output in outputs {
            match output {
                Learn::Send(packet) => packet.put(&mut said),
                Learn::Append { zxid, txn } => {
                    self.state.under_way.push_back((zxid, (*txn).into()));
                    appended.get_or_insert(zxid);
                }
                Learn::Apply(upto) => {
                    while let Some(entry) =
                        self.state.under_way.pop_front_if(|(zxid, _)| *zxid <= upto)
                    {
                        lessons.push(Lesson::Txn(entry.1.clone()));
                        if feeds {
                            self.state.fresh.push_back(entry.clone());
                        }
                        self.keep(entry);
                    }
                }
                Learn::Synced => lessons.push(Lesson::Synced),
                Learn::Revalidated { session, is_valid } => {
                    lessons.push(Lesson::Revalidated(session, is_valid));
                }
                Learn::Moved(session) => lessons.push(Lesson::Moved(session)),
                Learn::AnswerPing(zxid) => self.chore(Chore::AnswerPing(zxid)),
                Learn::WriteAccepted(epoch) => self.chore(Chore::WriteAccepted(epoch)),
                Learn::WriteCurrent(epoch) => self.chore(Chore::WriteCurrent(epoch)),
                Learn::Truncate(zxid) => self.chore(Chore::Truncate(zxid)),
                Learn::Settle => self.chore(Chore::Settle),
                Learn::Serve => self.chore(Chore::Serve),
                // Whoever reads the connection looks for it.
                Learn::Install(_) => {}
                Learn::Proposed(config) => self.propose_config(config),
                Learn::Activate { config, .. } => self.chore(Chore::Activated(config)),
                // Told by the turn.
                Learn::Leave(_) => {}
            }
        }
        if !said.is_empty()
            && let Some(link) = &self.state.upstream
        {
            link.send(|out| out.extend_from_slice(&said));
        }
        if let Some(first) = appended {
            // It says why itself, and ends this member.
            let _ = self.quorum.log().append(&mut self.state.since(first));
        }
        if !lessons.is_empty() {
            let who = self.quorum.pipe().teach(lessons.into_iter());
            self.note_due(who);
        }
    }

    pub(super) fn chore(&mut self, chore: Chore) {
        self.state.chores.push_back(chore);
    }
}
