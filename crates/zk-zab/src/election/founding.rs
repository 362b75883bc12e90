//! The first election of an ensemble (rule R5). A member that is empty does not know whether its
//! ensemble is new, or whether it has lost what it had: then its vote, for somebody who is empty
//! too, could make others throw away what they have. So it says only that it is empty, and votes
//! when it has heard the same of all other voters. Apache's members vote at once (unless
//! `db.autocreate` is off).

use std::collections::BTreeMap;

use zk_proto::election::{Notification, ServerState};
use zk_proto::{Sid, Zxid};

use super::ballot::Heard;
use super::{Election, Output, Phase, Standing};

/// What the other voters have said, each of which is empty.
#[derive(Clone, Debug, Default)]
pub(super) struct Founding(BTreeMap<Sid, Notification<'static>>);

impl Election {
    /// The same for a member that has nothing at all, neither a history nor an epoch.
    pub fn look_empty(&mut self, now_ms: u64, out: &mut Vec<Output>) {
        let standing = Standing { zxid: Zxid::ZERO, epoch: 0 };
        if !self.configs.is_voter(self.me) {
            return self.look(now_ms, standing, out);
        }
        self.founding = Some(Founding::default());
        self.begin_round(now_ms, standing, out);
        self.found(now_ms, out);
    }

    pub(super) fn heard_while_founding(
        &mut self,
        now_ms: u64,
        from: Sid,
        notification: &Notification<'_>,
        out: &mut Vec<Output>,
    ) {
        let Some(Founding(empty)) = &mut self.founding else { return };
        if !self.configs.is_voter(from) {
            return;
        }
        let candidate = Heard::of(notification).candidate;
        // Nobody wants somebody with less than it has itself.
        let is_empty = candidate.zxid <= Zxid::ZERO && candidate.peer_epoch <= 0;
        // Of one without a vote, whatever it votes for.
        if notification.state == ServerState::Observing {
            return;
        }
        // Others may have a leader already: it is established when its epoch is told.
        if !is_empty {
            self.founding = None;
            out.push(Output::Wiped);
            return;
        }
        let config = notification.config.as_ref().map(|text| text.to_string().into());
        let is_news = empty.insert(from, Notification { config, ..*notification }).is_none();
        if is_news {
            self.tell(from, out);
        }
        self.found(now_ms, out);
    }

    /// Votes, when all others are empty too.
    fn found(&mut self, now_ms: u64, out: &mut Vec<Output>) {
        let Some(Founding(empty)) = &self.founding else { return };
        let mut others = self.configs.voters().into_iter().filter(|sid| *sid != self.me);
        if !others.all(|sid| empty.contains_key(&sid)) {
            return;
        }
        let Some(Founding(empty)) = self.founding.take() else { return };
        for (from, notification) in empty {
            if matches!(self.phase, Phase::Looking(_)) {
                self.heard(now_ms, from, &notification, out);
            }
        }
        self.judge(now_ms, out);
    }
}
