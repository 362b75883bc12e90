//! The session behind the prompt.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use zk_client::{Backoff, Client, Options, Sasl, SessionState};
use zk_proto::ErrorCode;

use super::client_config::ClientConfig;
use super::flags::Flags;
use super::spec::Parsed;
use super::{Report, Trouble, run, tls};

/// Where events are shown, if anywhere.
#[derive(Clone)]
pub(super) struct Show(Option<Arc<dyn Fn(String) + Send + Sync>>);

impl Show {
    pub(super) fn nothing() -> Show {
        Show(None)
    }

    pub(super) fn with(print: impl Fn(String) + Send + Sync + 'static) -> Show {
        Show(Some(Arc::new(print)))
    }
}

/// A client, and how to get another one.
pub(super) struct Session {
    flags: Flags,
    /// The connect string in use.
    target: String,
    client: Option<Client>,
    show: Show,
    prints_watches: Arc<AtomicBool>,
    /// Who shows what comes from the client, and how to get at it.
    shows: Option<(JoinHandle<()>, UnboundedSender<Word>)>,
    /// Somebody looks at the prompt, which says whether there is a connection.
    is_person: bool,
}

/// What is said to who shows events. It stands behind those that have come before.
enum Word {
    /// An event that no server sends.
    Show(String),
    /// All events before it have been shown.
    Settled(oneshot::Sender<()>),
}

/// How long events that came before the end of a session may take until they are shown: whoever
/// does not read them must not hold up the end for ever.
const LAST_EVENTS: Duration = Duration::from_secs(5);

/// Without a server two tries for each command end within a second, which zkCli takes too.
const BACKOFF: Backoff = Backoff { first_ms: 20, max_ms: 500 };

/// What is asked goes to the server, which knows its own `jute.maxbuffer`, as with zkCli. Requests
/// and answers are kept in memory, so there is an end to it.
const FRAME_BYTES_MAX: usize = 64 << 20;

/// A command of this length may have been too much for a server whose `jute.maxbuffer` is small.
const LONG_COMMAND_BYTES: usize = 4 << 10;

impl Session {
    pub(super) fn new(flags: Flags, show: Show, is_person: bool) -> Session {
        let target = flags.server.clone();
        let prints_watches = Arc::new(AtomicBool::new(true));
        Session { flags, target, client: None, show, prints_watches, shows: None, is_person }
    }

    /// Opens a session with the servers in use, or others. Requests wait until it is served.
    pub(super) async fn connect(&mut self, target: Option<&str>) -> Result<(), Trouble> {
        let target = target.unwrap_or(&self.target).to_owned();
        let options = Options::new(&target).map_err(|e| Trouble::usage(e.to_string()))?;
        let config = self.flags.client_configuration.as_deref().map(ClientConfig::load);
        let config = config.transpose()?;
        let max_buffer = config.as_ref().map(ClientConfig::max_buffer_bytes).transpose()?.flatten();
        let options = Options {
            request_bytes_max: max_buffer.unwrap_or(0).max(FRAME_BYTES_MAX),
            frame_bytes_max: max_buffer.unwrap_or(FRAME_BYTES_MAX),
            session_timeout: self.flags.timeout,
            connect_timeout: self.flags.timeout,
            connect_rounds_max: (!self.flags.waits_for_connection).then_some(2),
            allows_read_only: self.flags.allows_read_only,
            backoff: BACKOFF,
            sasl: sasl(&self.flags)?,
            tls: tls::of(&self.flags, config.as_ref())?,
            ..options
        };
        self.close().await;
        let client = Client::start(options);
        if let Some(print) = self.show.0.clone() {
            let (words, heard) = mpsc::unbounded_channel();
            let is_on = Arc::clone(&self.prints_watches);
            let shows = show_events(client.clone(), print, is_on, heard);
            self.shows = Some((tokio::spawn(shows), words));
        }
        self.target = target;
        self.client = Some(client);
        Ok(())
    }

    pub(super) async fn connect_and_wait(&mut self, target: Option<&str>) -> Result<(), Trouble> {
        self.connect(target).await?;
        Ok(self.client()?.connected().await?)
    }

    /// The command `connect`. As in zkCli a person has the prompt at once; a script must hear
    /// whether there is a connection.
    pub(super) async fn reconnect(&mut self, target: Option<&str>) -> Result<(), Trouble> {
        match self.is_person {
            true => self.connect(target).await,
            false => self.connect_and_wait(target).await,
        }
    }

    /// The client, if a session is open.
    pub(super) fn client(&self) -> Result<&Client, Trouble> {
        match &self.client {
            Some(client) if !client.state().is_over() => Ok(client),
            _ => Err(Trouble::failed("Not connected").hint("connect host:port")),
        }
    }

    /// Closes the session; one that cannot be closed expires.
    pub(super) async fn close(&mut self) {
        if let Some(client) = &self.client {
            let _ = client.close().await;
        }
        if let Some((shows, _)) = self.shows.take() {
            let _ = tokio::time::timeout(LAST_EVENTS, shows).await;
        }
    }

    pub(super) async fn execute(&mut self, parsed: &Parsed) -> Result<Report, Trouble> {
        if parsed.needs_server() {
            // A request would wait for a connection as long as the session lives, and then could
            // not say why there is none.
            self.client()?.connected().await?;
        }
        let bytes = parsed.args.iter().map(String::len).sum::<usize>();
        run::execute(self, parsed).await.map_err(|trouble| match trouble.code() {
            Some(ErrorCode::ConnectionLoss) if bytes >= LONG_COMMAND_BYTES => {
                trouble.hint(format!(
                    "the command has {bytes} bytes: a server closes the connection on which a request \
                     is longer than its jute.maxbuffer, by default 1 MiB; raise it on all servers, or \
                     write less"
                ))
            }
            _ => trouble,
        })
    }

    /// The connect string in use.
    pub(super) fn target(&self) -> &str {
        &self.target
    }

    pub(super) fn prints_watches(&self) -> bool {
        self.prints_watches.load(Ordering::Relaxed)
    }

    pub(super) fn set_prints_watches(&mut self, on: bool) {
        self.prints_watches.store(on, Ordering::Relaxed);
    }

    /// An event that no server sends.
    pub(super) fn show_event(&self, kind: &str, path: &str) {
        if let Some((_, words)) = &self.shows {
            let _ = words.send(Word::Show(event_text(kind, path, -1)));
        }
    }

    /// Waits until the events that have come are shown, as far as somebody reads them: those of a
    /// command come before what the next one says.
    pub(super) async fn settle(&self) {
        let Some((_, words)) = &self.shows else { return };
        let (settled, is_settled) = oneshot::channel();
        if words.send(Word::Settled(settled)).is_ok() {
            let _ = tokio::time::timeout(LAST_EVENTS, is_settled).await;
        }
    }

    /// zkCli's prompt, without the number and the bracket behind.
    pub(super) fn prompt(&self) -> String {
        let state = match self.client.as_ref().map(Client::state) {
            Some(SessionState::Connected) => "CONNECTED",
            Some(SessionState::ConnectedReadOnly) => "CONNECTEDREADONLY",
            Some(SessionState::Connecting | SessionState::Disconnected) => "CONNECTING",
            Some(SessionState::AuthFailed) => "AUTH_FAILED",
            Some(_) | None => "CLOSED",
        };
        format!("[zk: {}({state})", self.target)
    }
}

/// The user of SASL. A password on the command line could be seen by everybody on this machine.
fn sasl(flags: &Flags) -> Result<Option<Sasl>, Trouble> {
    let (user, file) = match (&flags.sasl_user, &flags.sasl_password_file) {
        (None, None) => return Ok(None),
        (Some(user), Some(file)) => (user.clone(), file),
        _ => return Err(Trouble::usage("--sasl-user and --sasl-password-file go together")),
    };
    let text =
        std::fs::read_to_string(file).map_err(|e| Trouble::failed(format!("{file}: {e}")))?;
    let password = text.lines().next().unwrap_or_default().to_owned();
    Ok(Some(Sasl { user, password, is_required: true }))
}

/// Shows watch events and changes of the session as zkCli does.
async fn show_events(
    client: Client,
    print: Arc<dyn Fn(String) + Send + Sync>,
    is_on: Arc<AtomicBool>,
    mut words: UnboundedReceiver<Word>,
) {
    let (mut events, mut states) = (client.events(), client.states());
    // This task must not keep the session open.
    drop(client);
    loop {
        let text = tokio::select! {
            biased;
            event = events.next() => match event {
                Some(event) => {
                    let zxid = event.zxid.map_or(-1, |zxid| zxid.0);
                    event_text(event.kind.name(), &event.path, zxid)
                }
                None => {
                    // The session is over; its last state is told.
                    let last = state_text(*states.borrow());
                    if is_on.load(Ordering::Relaxed) {
                        shown(&print, last).await;
                    }
                    return;
                }
            },
            Some(word) = words.recv() => match word {
                Word::Show(text) => text,
                Word::Settled(settled) => {
                    let _ = settled.send(());
                    continue;
                }
            },
            changed = states.changed() => match changed {
                Ok(()) if states.borrow().is_over() => continue,
                Ok(()) => state_text(*states.borrow_and_update()),
                Err(_) => return,
            },
        };
        if is_on.load(Ordering::Relaxed) {
            shown(&print, text).await;
        }
    }
}

/// Shows a text on a thread that may wait: the session's goes on to answer for it meanwhile.
async fn shown(print: &Arc<dyn Fn(String) + Send + Sync>, text: String) {
    let print = Arc::clone(print);
    let _ = tokio::task::spawn_blocking(move || print(text)).await;
}

fn event_text(kind: &str, path: &str, zxid: i64) -> String {
    format!(
        "\nWATCHER::\n\nWatchedEvent state:SyncConnected type:{kind} path:{path} zxid: {zxid}\n"
    )
}

fn state_text(state: SessionState) -> String {
    let name = state.name();
    format!("\nWATCHER::\n\nWatchedEvent state:{name} type:None path:null zxid: -1\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use zk_proto::watch::EventType;

    #[test]
    fn events_are_zkclis() {
        assert_eq!(
            event_text(EventType::NodeDataChanged.name(), "/cli", 17),
            "\nWATCHER::\n\nWatchedEvent state:SyncConnected type:NodeDataChanged path:/cli zxid: 17\n"
        );
    }

    #[test]
    fn a_user_needs_a_password_and_its_first_line_is_it() {
        let user = Some("bob".to_owned());
        let flags = Flags { sasl_user: user, ..Flags::default() };
        assert_eq!(sasl(&flags).unwrap_err().exit_code(), 2);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "secret\nnot this\n").unwrap();
        let file = file.path().to_str().map(str::to_owned);
        let read = sasl(&Flags { sasl_password_file: file, ..flags }).unwrap().unwrap();
        assert_eq!((read.user.as_str(), read.password.as_str()), ("bob", "secret"));
    }

    #[test]
    fn the_prompt_begins_with_the_servers() {
        let session = Session::new(Flags::default(), Show::nothing(), true);
        assert_eq!(session.prompt(), "[zk: localhost:2181(CLOSED)");
    }
}
