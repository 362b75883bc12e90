//! The session machine with what belongs to it, shared by callers and the driver.
//!
//! Callers put requests straight into the bytes of the connection, under one short lock; the
//! driver writes whatever has gathered in one system call.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;
use zk_proto::request::{Request, WatchesRequest};
use zk_proto::watch::WatcherType;
use zk_proto::{ErrorCode, Zxid};
use zk_session::client::{
    BODY_AT, ClientSession, Config, Effect, Failure, Input, Output, SessionState, WatchKind,
};

use crate::call::{Completion, Interest};
use crate::chroot::Chroot;
use crate::registry::Registry;
use crate::sasl::{Exchange, Next};
use crate::watch::WatchEvent;
use crate::{Options, Reply, tls};

/// Everything that callers and the driver share.
pub(crate) struct Shared {
    core: Mutex<Core>,
    /// Rung when the driver has something to do.
    pub(crate) bell: Notify,
    /// Weights of requests that may still be asked.
    pub(crate) weights: Semaphore,
    pub(crate) state: watch::Sender<SessionState>,
    pub(crate) trouble: watch::Sender<Trouble>,
    /// Whether the driver has ended, and its connection with it.
    pub(crate) has_ended: watch::Sender<bool>,
    pub(crate) options: Options,
    pub(crate) chroot: Chroot,
    start: Instant,
}

/// The machine and those it serves.
pub(crate) struct Core {
    pub(crate) machine: ClientSession<Completion>,
    out: Output<Completion>,
    pub(crate) registry: Registry,
    errands: VecDeque<Errand>,
    /// The exchange under way.
    sasl: Option<Exchange>,
}

/// What those who wait for a connection want to know.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Trouble {
    /// Connections that came to nothing, or to an end.
    pub(crate) count: u32,
    /// What went wrong last.
    pub(crate) cause: Option<String>,
    /// Whether that was a port that speaks TLS, met without it.
    pub(crate) wants_tls: bool,
    /// Whether TLS was in the way, and how.
    pub(crate) tls: Option<tls::TlsTrouble>,
}

/// What only the driver can do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Errand {
    Dial(usize),
    Hangup,
    Probe(usize),
}

/// What the driver takes away at once.
pub(crate) struct Work {
    pub(crate) errands: VecDeque<Errand>,
    /// `None` when the session is over.
    pub(crate) next_timer_ms: Option<i64>,
}

impl Shared {
    pub(crate) fn new(options: Options) -> Arc<Shared> {
        // Only spreads clients over servers and time.
        let seed = tls::random().map_or(u64::from(std::process::id()), u64::from_ne_bytes);
        let mut options = options;
        shuffle(&mut options.servers, seed);
        let ms =
            |duration: std::time::Duration| i32::try_from(duration.as_millis()).unwrap_or(i32::MAX);
        let config = Config {
            timeout_ms: ms(options.session_timeout),
            server_count: options.servers.len(),
            allows_read_only: options.allows_read_only,
            in_flight_count_max: options.in_flight_count_max,
            in_flight_bytes_max: options.in_flight_bytes_max,
            request_bytes_max: options.request_bytes_max,
            queue_timeout_ms: ms(options.connect_timeout).into(),
            expires_locally: options.expires_locally,
            backoff: options.backoff,
            seed,
            uses_sasl: options.sasl.is_some(),
            resume: options.resume.clone(),
        };
        let machine = ClientSession::new(config, 0);
        Arc::new(Shared {
            core: Mutex::new(Core {
                machine,
                out: Output::default(),
                registry: Registry::default(),
                errands: VecDeque::new(),
                sasl: None,
            }),
            bell: Notify::new(),
            weights: Semaphore::new(options.pending_weight_max as usize),
            state: watch::Sender::new(SessionState::Connecting),
            trouble: watch::Sender::new(Trouble::default()),
            has_ended: watch::Sender::new(false),
            chroot: Chroot::new(&options.chroot),
            options,
            start: Instant::now(),
        })
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.start.elapsed().as_millis() as i64
    }

    pub(crate) fn instant(&self, at_ms: i64) -> Instant {
        self.start + std::time::Duration::from_millis(at_ms.max(0) as u64)
    }

    /// Gives the machine one input and carries out what can be done here.
    pub(crate) fn step(&self, input: Input<'_, Completion>) {
        self.step_in(&mut self.core.lock(), input);
    }

    /// Puts a request on its way. Who wants the watch that it sets is known from then on.
    pub(crate) fn ask(&self, token: Completion, request: &Request<'_>) {
        let mut core = self.core.lock();
        if let Some(interest) = &token.interest {
            let Interest { if_ok, path, queue, .. } = &**interest;
            core.registry.expect(*if_ok, path.clone(), Arc::clone(queue));
        }
        self.step_in(&mut core, Input::Request { token, request });
    }

    fn step_in(&self, core: &mut Core, input: Input<'_, Completion>) {
        let had_bytes = !core.out.bytes.is_empty();
        self.step_locked(core, input, &[]);
        self.ring(core, had_bytes);
    }

    fn ring(&self, core: &Core, had_bytes: bool) {
        // With bytes there before, the bell was rung for them.
        if !had_bytes || !core.errands.is_empty() {
            self.bell.notify_one();
        }
    }

    fn step_locked(&self, core: &mut Core, input: Input<'_, Completion>, frame: &[u8]) {
        core.machine.step(self.now_ms(), input, &mut core.out);
        self.carry_out_all(core, frame);
    }

    fn carry_out_all(&self, core: &mut Core, frame: &[u8]) {
        // An effect may be answered by another step.
        while !core.out.effects.is_empty() {
            let mut effects = std::mem::take(&mut core.out.effects);
            for effect in effects.drain(..) {
                self.carry_out(core, effect, frame);
            }
            if core.out.effects.is_empty() {
                core.out.effects = effects;
            }
        }
    }

    fn carry_out(&self, core: &mut Core, effect: Effect<Completion>, frame: &[u8]) {
        match effect {
            Effect::Reply { token, zxid, err } => {
                let body = frame.get(BODY_AT..).unwrap_or_default();
                self.complete(core, token, Ok((zxid, err, body)));
            }
            Effect::Failed { token, failure } => self.complete(core, token, Err(failure)),
            Effect::Event(event) => {
                let shown = WatchEvent {
                    kind: event.kind,
                    path: self.chroot.to_client(event.path.clone()),
                    zxid: event.zxid,
                };
                core.registry.deliver(&event.path, &shown);
            }
            Effect::State(state) => {
                if state.is_over() {
                    core.registry.end();
                    self.weights.close();
                }
                self.state.send_replace(state);
            }
            Effect::Dial { server } => core.errands.push_back(Errand::Dial(server)),
            Effect::Hangup => core.errands.push_back(Errand::Hangup),
            Effect::Probe { server } => core.errands.push_back(Errand::Probe(server)),
            Effect::SaslStart => self.sasl_step(core, None),
            Effect::SaslReply { err } => {
                let body = frame.get(BODY_AT..).unwrap_or_default();
                self.sasl_step(core, Some((err, body)));
            }
        }
    }

    /// Begins a SASL exchange, or goes on with the server's answer.
    fn sasl_step(&self, core: &mut Core, answer: Option<(i32, &[u8])>) {
        let next = match (answer, &self.options.sasl, &mut core.sasl) {
            (None, Some(sasl), exchange) => {
                *exchange = Exchange::new(sasl);
                exchange.as_ref().map_or(Next::Failed, Exchange::first)
            }
            (Some((err, body)), _, Some(exchange)) => exchange.next(err, body),
            _ => Next::Failed,
        };
        let (now_ms, out) = (self.now_ms(), &mut core.out);
        match next {
            Next::Token(token) => core.machine.step(now_ms, Input::SaslToken(&token), out),
            Next::Done => core.machine.step(now_ms, Input::SaslDone, out),
            Next::Failed => core.machine.step(now_ms, Input::SaslFailed, out),
        }
    }

    fn complete(
        &self,
        core: &mut Core,
        completion: Completion,
        answer: Result<(Zxid, i32, &[u8]), Failure>,
    ) {
        let Completion { answer: asker, weight, interest } = completion;
        if weight > 0 {
            self.weights.add_permits(weight as usize);
        }
        if let Some(interest) = interest {
            self.settle_interest(core, *interest, answer.as_ref().ok().map(|(_, err, _)| *err));
        }
        if let Some(asker) = asker {
            let answer = answer.map(|(zxid, err, body)| Reply { zxid, err, body: body.to_vec() });
            // Whoever asked may have gone.
            let _ = asker.send(answer);
        }
    }

    /// The request for a watch was answered with `err`, or will not be. A listener that has gone
    /// meanwhile, or gets no watch, may have been the last one.
    fn settle_interest(&self, core: &mut Core, interest: Interest, err: Option<i32>) {
        let Interest { of, if_ok, if_missing, path, queue } = interest;
        core.registry.arrived(&path, &queue);
        let kind = match err.and_then(ErrorCode::from_code) {
            Some(ErrorCode::Ok) => Some(if_ok),
            Some(ErrorCode::NoNode) => if_missing,
            _ => None,
        };
        match kind {
            Some(kind) if !queue.has_ended() => core.registry.add(kind, path, queue),
            _ => self.unwatch_if_last(core, &path, of),
        }
    }

    /// Takes the frames at the beginning of `bytes`; answers how many bytes that were, or the
    /// length of a frame that is longer than allowed.
    pub(crate) fn receive(&self, bytes: &[u8]) -> Result<usize, i32> {
        let mut core = self.core.lock();
        let mut taken = 0;
        while let Some(length) = bytes[taken..].first_chunk::<4>() {
            let length = i32::from_be_bytes(*length);
            let Some(len) =
                usize::try_from(length).ok().filter(|len| *len <= self.options.frame_bytes_max)
            else {
                return Err(length);
            };
            let Some(frame) = bytes[taken + 4..].get(..len) else { break };
            self.step_locked(&mut core, Input::Frame(frame), frame);
            taken += 4 + len;
            if core.errands.contains(&Errand::Hangup) {
                break;
            }
        }
        Ok(taken)
    }

    /// Takes what there is to do. `bytes` is filled if it is empty, so that its memory goes round.
    pub(crate) fn take_work(&self, bytes: &mut Vec<u8>) -> Work {
        let mut core = self.core.lock();
        if bytes.is_empty() {
            std::mem::swap(bytes, &mut core.out.bytes);
        }
        Work {
            errands: std::mem::take(&mut core.errands),
            next_timer_ms: core.machine.next_timer_ms(),
        }
    }

    pub(crate) fn with_core<R>(&self, f: impl FnOnce(&mut Core) -> R) -> R {
        f(&mut self.core.lock())
    }

    /// A listener has gone. If it was the last one, the watch is not restored any more, and a
    /// persistent one is taken from the server too.
    pub(crate) fn unwatch(&self, path: &str, of: WatcherType) {
        let mut core = self.core.lock();
        let had_bytes = !core.out.bytes.is_empty();
        self.unwatch_if_last(&mut core, path, of);
        self.carry_out_all(&mut core, &[]);
        self.ring(&core, had_bytes);
    }

    fn unwatch_if_last(&self, core: &mut Core, path: &str, of: WatcherType) {
        let mut kinds = WatchKind::of_watcher_type(of).iter();
        let is_last = core.registry.prune(path, of);
        if !is_last || !kinds.any(|kind| core.machine.watches().contains(*kind, path)) {
            return;
        }
        let now_ms = self.now_ms();
        core.machine.step(now_ms, Input::ForgetWatch(of, path), &mut core.out);
        if matches!(of, WatcherType::Persistent | WatcherType::PersistentRecursive) {
            let request = Request::RemoveWatches(WatchesRequest {
                path: Some(path.into()),
                watcher_type: of.code(),
            });
            let token = Completion { answer: None, weight: 0, interest: None };
            core.machine.step(now_ms, Input::Request { token, request: &request }, &mut core.out);
        }
    }
}

/// Fisher and Yates with xorshift64: clients must not all begin with the same server.
fn shuffle<T>(items: &mut [T], seed: u64) {
    let mut random = seed | 1;
    for at in (1..items.len()).rev() {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        items.swap(at, (random % (at as u64 + 1)) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shuffling_keeps_all_and_reaches_every_first_place() {
        let mut firsts = [0; 3];
        for seed in 0..300u64 {
            let mut items = [0usize, 1, 2];
            shuffle(&mut items, seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            firsts[items[0]] += 1;
            items.sort_unstable();
            assert_eq!(items, [0, 1, 2]);
        }
        assert!(firsts.iter().all(|count| *count > 50), "{firsts:?}");
    }
}
