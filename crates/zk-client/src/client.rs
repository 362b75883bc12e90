//! The handle that applications hold.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use tokio::sync::{oneshot, watch};
use tokio::time::sleep;
use zk_proto::Zxid;
use zk_proto::request::Request;
use zk_proto::watch::WatcherType;
use zk_session::client::{Failure, Input, SavedSession, SessionState, WatchKind};

use crate::call::{Completion, Interest, weight};
use crate::shared::Shared;
use crate::watch::{Place, Queue};
use crate::{Error, Options, Pending, Reply, Watch, driver};

/// A ZooKeeper session.
///
/// Clones share it. When the last clone is dropped the session is closed in the background; use
/// [`Client::close`] to be sure that it is, or [`Client::detach`] to leave it alive.
///
/// **The order rule:** requests are carried out in the order in which [`Client::send`] finished
/// (or the call began, if nothing had to wait), and answered in that order; an event comes before
/// the reply that shows what it tells.
#[derive(Clone)]
pub struct Client(Arc<Handle>);

/// Closes the session when nobody holds it any more.
struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        let token = Completion { answer: None, weight: 0, interest: None };
        self.0.step(Input::Close { token });
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("session", &self.session())
            .field("state", &self.state())
            .finish()
    }
}

impl Client {
    /// Opens a session and waits until a server serves it, at most `options.connect_timeout`. Must
    /// be called inside of a tokio runtime, which then drives the session.
    pub async fn connect(options: Options) -> Result<Client, Error> {
        let client = Client::start(options);
        client.connected().await?;
        Ok(client)
    }

    /// Opens a session without waiting; requests wait for the connection.
    #[must_use]
    pub fn start(options: Options) -> Client {
        let auths = options.auth.clone();
        let shared = Shared::new(options);
        for (scheme, auth) in &auths {
            let token = Completion { answer: None, weight: 0, interest: None };
            shared.step(Input::Auth { token, scheme, auth: Some(auth) });
        }
        tokio::spawn(driver::run(Arc::clone(&shared)));
        Client(Arc::new(Handle(shared)))
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.0.0
    }

    /// The server's path of a path below the chroot, for [`Client::call`].
    #[must_use]
    pub fn full<'a>(&self, path: &'a str) -> Cow<'a, str> {
        self.shared().chroot.to_server(path)
    }

    pub(crate) fn shown(&self, path: String) -> String {
        self.shared().chroot.to_client(path)
    }

    /// Waits until a server serves the session, at most `options.connect_timeout` and
    /// `options.connect_rounds_max`.
    pub async fn connected(&self) -> Result<(), Error> {
        let options = &self.shared().options;
        let tries_max = options.connect_rounds_max.map_or(u32::MAX, |rounds| {
            rounds.saturating_mul(u32::try_from(options.servers.len()).unwrap_or(u32::MAX))
        });
        let (mut states, mut trouble) = (self.states(), self.shared().trouble.subscribe());
        let enough = trouble.borrow().count.saturating_add(tries_max);
        let settled = |state: &SessionState| state.is_connected() || state.is_over();
        tokio::select! {
            _ = states.wait_for(settled) => {}
            _ = trouble.wait_for(|trouble| trouble.count >= enough) => {}
            () = sleep(options.connect_timeout) => {}
        }
        match self.state() {
            SessionState::Connected | SessionState::ConnectedReadOnly => Ok(()),
            state if state.is_over() => Err(self.why_over()),
            _ => {
                let (servers, last) =
                    (options.servers_text(), self.shared().trouble.borrow().clone());
                if last.wants_tls {
                    return Err(Error::TlsWanted { servers });
                }
                let unheard = || format!("no answer within {:?}", options.connect_timeout);
                let (cause, tls) = (last.cause.unwrap_or_else(unheard), last.tls);
                Err(Error::NoServer { servers, cause, tls })
            }
        }
    }

    /// Asks something, raw: paths are the server's, and an error code in the reply is not an
    /// error here. Waits while too much is unanswered.
    pub async fn call(&self, request: &Request<'_>) -> Result<Reply, Error> {
        self.send(request).await?.await
    }

    /// Puts a request on its way and comes back with a handle for its reply: pipelining. Waits
    /// while too much is unanswered. Not meant for `Ping`, `Auth`, `Sasl`, `SetWatches` and
    /// `CloseSession`, which the session itself sends.
    pub async fn send(&self, request: &Request<'_>) -> Result<Pending, Error> {
        self.submit(request, None).await
    }

    async fn submit(
        &self,
        request: &Request<'_>,
        interest: Option<Box<Interest>>,
    ) -> Result<Pending, Error> {
        let shared = self.shared();
        let weight = weight(request).min(shared.options.pending_weight_max);
        match shared.weights.acquire_many(weight).await {
            Ok(permit) => permit.forget(),
            Err(_) => return Err(self.why_over()),
        }
        let (answer, pending) = oneshot::channel();
        let token = Completion { answer: Some(answer), weight, interest };
        shared.ask(token, request);
        Ok(Pending(pending))
    }

    fn why_over(&self) -> Error {
        match self.state() {
            SessionState::Expired => Error::SessionExpired,
            SessionState::AuthFailed => Error::AuthFailed,
            _ => Error::Closed,
        }
    }

    /// Asks something that leaves a watch; the listener is in place before the next event can come.
    /// Giving this up is dropping the watch.
    pub(crate) async fn watching(
        &self,
        request: &Request<'_>,
        interest: Interest,
    ) -> Result<(Reply, Watch), Error> {
        let watch = Watch {
            queue: Arc::clone(&interest.queue),
            place: Some(Place {
                shared: Arc::downgrade(self.shared()),
                path: interest.path.clone(),
                of: interest.of,
            }),
        };
        let reply = self.submit(request, Some(Box::new(interest))).await?.await?;
        Ok((reply, watch))
    }

    pub(crate) fn queue(&self) -> Arc<Queue> {
        Queue::new(self.shared().options.watch_events_max)
    }

    /// Every event of the session from now on, whatever watch it belongs to: also of watches set
    /// by [`Client::call`].
    #[must_use]
    pub fn events(&self) -> Watch {
        let queue = self.queue();
        self.shared().with_core(|core| match core.machine.state().is_over() {
            true => queue.end(),
            false => core.registry.add_all(Arc::clone(&queue)),
        });
        Watch { queue, place: None }
    }

    /// The kinds of watches of this type that the session has on a path, also those set by
    /// [`Client::call`].
    #[must_use]
    pub fn watch_kinds(&self, path: &str, of: WatcherType) -> Vec<WatchKind> {
        let path = self.full(path);
        self.shared().with_core(|core| {
            let watches = core.machine.watches();
            let kinds = WatchKind::of_watcher_type(of).iter().copied();
            kinds.filter(|kind| watches.contains(*kind, &path)).collect()
        })
    }

    /// Forgets watches on this side: their streams end and they are not restored.
    pub fn forget_watches(&self, path: &str, of: WatcherType) {
        let path = self.full(path);
        self.shared().with_core(|core| core.registry.remove(of, &path));
        self.shared().step(Input::ForgetWatch(of, &path));
    }

    pub(crate) fn end_watches(&self, path: &str, of: WatcherType) {
        self.shared().with_core(|core| core.registry.remove(of, path));
    }

    /// Adds an identity to the session's connections, this one and later ones. A refusal ends the
    /// session. `None`: the scheme wants no credentials.
    pub async fn add_auth(&self, scheme: &str, auth: Option<&[u8]>) -> Result<(), Error> {
        let (answer, pending) = oneshot::channel();
        let token = Completion { answer: Some(answer), weight: 0, interest: None };
        self.shared().step(Input::Auth { token, scheme, auth });
        Pending(pending).await.map(|_| ())
    }

    /// How the session is.
    #[must_use]
    pub fn state(&self) -> SessionState {
        *self.shared().state.borrow()
    }

    /// The session's states as they change. A slow reader sees the newest, not each.
    #[must_use]
    pub fn states(&self) -> watch::Receiver<SessionState> {
        self.shared().state.subscribe()
    }

    /// The session's id, password, negotiated timeout and newest zxid.
    #[must_use]
    pub fn session(&self) -> SavedSession {
        self.shared().with_core(|core| core.machine.session().clone())
    }

    /// The newest zxid that a reply has shown.
    #[must_use]
    pub fn last_zxid(&self) -> Zxid {
        self.shared().with_core(|core| core.machine.session().last_zxid)
    }

    /// Closes the session after everything asked before: its ephemerals go. Comes back when the
    /// connection has ended.
    pub async fn close(&self) -> Result<(), Error> {
        let (answer, pending) = oneshot::channel();
        let token = Completion { answer: Some(answer), weight: 0, interest: None };
        self.shared().step(Input::Close { token });
        let closed = pending.await;
        self.ended().await;
        match closed {
            Ok(Ok(_)) | Err(_) | Ok(Err(Failure::Closed)) => Ok(()),
            Ok(Err(failure)) => Err(failure.into()),
        }
    }

    /// Gives the connection up and leaves the session alive, for whoever goes on with it within
    /// its timeout. What is not answered yet fails with an unknown outcome. Comes back when the
    /// connection has ended.
    pub async fn detach(&self) -> SavedSession {
        self.shared().step(Input::Detach);
        self.ended().await;
        self.session()
    }

    async fn ended(&self) {
        // The sender lives as long as this client.
        let _ = self.shared().has_ended.subscribe().wait_for(|has_ended| *has_ended).await;
    }
}
