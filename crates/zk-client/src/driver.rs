//! The task that does what the machine wants: dials, reads, writes, keeps time.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Sleep, sleep_until, timeout};
use zk_session::client::Input;

use crate::link::Link;
use crate::shared::{Errand, Shared};
use crate::tls;

/// How much is read at once.
const READ_LEN: usize = 64 << 10;
/// Buffers above this size are given back when they are empty.
const KEPT_LEN: usize = 1 << 20;
/// How long a server may take to say whether it is read-only.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// How a TLS alert begins (its record type, and the version of the protocol): what a port that
/// speaks TLS answers to a plain connect request. A frame of ours would have 352 million bytes.
const TLS_ALERT: [u8; 2] = [0x15, 0x03];

/// How the cause of [`Error::NoServer`](crate::Error::NoServer) ends when a server took the
/// connection and ended it: too many of them, or a disk that is full.
pub const CLOSED_AT_ONCE: &str = "it closed the connection";

/// How a web server begins its answer, to a connect request too.
const HTTP: &[u8] = b"HTTP/";

type Dialling = Pin<Box<dyn Future<Output = io::Result<Link>> + Send>>;

/// The connection, or what there is of it.
enum Line {
    Idle,
    Dialling(Dialling),
    Up(Link),
}

/// Why the driver woke up.
enum Turn {
    Rung,
    Time,
    Dialled(Link),
    /// Everything given was written.
    Wrote,
    /// Bytes came.
    Read,
    Lost(Loss),
}

/// Why there is no connection any more.
enum Loss {
    /// In words.
    Text(String),
    /// What the system or TLS says.
    Io(io::Error),
}

impl Loss {
    fn text(text: &str) -> Loss {
        Loss::Text(text.to_owned())
    }
}

struct Driver {
    shared: Arc<Shared>,
    line: Line,
    /// Bytes that are being written, and how many are gone.
    outgoing: Vec<u8>,
    written: usize,
    /// Bytes that do not make a frame yet.
    incoming: Vec<u8>,
    timer: Pin<Box<Sleep>>,
    is_timer_armed: bool,
    server: usize,
}

/// Runs a session until it is over.
pub(crate) async fn run(shared: Arc<Shared>) {
    let timer = Box::pin(sleep_until(shared.instant(0)));
    let mut driver = Driver {
        shared,
        line: Line::Idle,
        outgoing: Vec::new(),
        written: 0,
        incoming: Vec::new(),
        timer,
        is_timer_armed: false,
        server: 0,
    };
    driver.shared.step(Input::Tick);
    while driver.prepare() {
        match driver.turn().await {
            Turn::Rung => {}
            Turn::Time => driver.shared.step(Input::Tick),
            Turn::Dialled(link) => {
                driver.line = Line::Up(link);
                driver.shared.step(Input::Connected);
            }
            Turn::Wrote => {
                driver.written = 0;
                driver.outgoing.clear();
                driver.outgoing.shrink_to(KEPT_LEN);
            }
            Turn::Read => driver.receive(),
            Turn::Lost(loss) => driver.lose(loss),
        }
    }
    if let Line::Up(link) = &mut driver.line {
        // The last words of TLS; the session is over either way.
        let _ = timeout(PROBE_TIMEOUT, link.shutdown()).await;
    }
}

impl Drop for Driver {
    /// Also when the runtime is shut down: nobody may wait for what will not come.
    fn drop(&mut self) {
        self.line = Line::Idle;
        self.shared.step(Input::Detach);
        self.shared.has_ended.send_replace(true);
    }
}

impl Driver {
    /// Runs errands and takes bytes; `false` when the session is over.
    fn prepare(&mut self) -> bool {
        let work = self.shared.take_work(&mut self.outgoing);
        for errand in work.errands {
            match errand {
                Errand::Dial(server) => self.dial(server),
                Errand::Hangup if work.next_timer_ms.is_some() => self.hang_up(),
                // At the end of a session the connection is closed with care.
                Errand::Hangup => {}
                Errand::Probe(server) => self.probe(server),
            }
        }
        let Some(next_timer_ms) = work.next_timer_ms else { return false };
        let at = self.shared.instant(next_timer_ms);
        // A timer that is too early costs one look; moving it with every request would cost more.
        if !self.is_timer_armed || at < self.timer.deadline() {
            self.timer.as_mut().reset(at);
            self.is_timer_armed = true;
        }
        true
    }

    fn hang_up(&mut self) {
        self.line = Line::Idle;
        self.incoming.clear();
        self.outgoing.clear();
        self.written = 0;
    }

    fn dial(&mut self, server: usize) {
        self.hang_up();
        self.server = server;
        let shared = Arc::clone(&self.shared);
        self.line = Line::Dialling(Box::pin(async move {
            let options = &shared.options;
            match options.servers.get(server) {
                Some(address) => Link::dial(address, options.tls.as_deref()).await,
                None => Err(io::Error::other("there is no such server in the list")),
            }
        }));
    }

    fn lose(&mut self, loss: Loss) {
        let server = self.shared.options.servers.get(self.server);
        let server = server.map(ToString::to_string).unwrap_or_default();
        let wants_tls = self.has_met_tls();
        let (text, tls) = match loss {
            Loss::Text(text) => (text, None),
            Loss::Io(error) => match tls::trouble(&error, self.shared.options.tls.as_deref()) {
                Some((text, trouble)) => (text, Some(trouble)),
                None => (error.to_string(), None),
            },
        };
        self.shared.trouble.send_modify(|all| {
            all.count = all.count.saturating_add(1);
            all.wants_tls = wants_tls;
            all.tls = tls;
            all.cause = Some(format!("{server}: {text}"));
        });
        self.hang_up();
        self.shared.step(Input::Disconnected);
    }

    /// Whether the first answer of a plain connection is a TLS alert.
    fn has_met_tls(&self) -> bool {
        matches!(self.line, Line::Up(Link::Plain(_)))
            && !self.shared.state.borrow().is_connected()
            && self.incoming.starts_with(&TLS_ALERT)
    }

    fn receive(&mut self) {
        match self.shared.receive(&self.incoming) {
            Ok(taken) if taken == self.incoming.len() => {
                self.incoming.clear();
                self.incoming.shrink_to(KEPT_LEN);
            }
            Ok(taken) => {
                self.incoming.drain(..taken);
            }
            Err(_) if self.incoming.starts_with(HTTP) => self.lose(Loss::text(
                "it speaks HTTP: this is the port of the AdminServer or of another web server, and \
                 not the client port",
            )),
            Err(length) => self.lose(Loss::Text(format!(
                "it sent a frame of {length} bytes, the limit is {} (frame_bytes_max; \
                 for the shell, jute.maxbuffer in -client-configuration)",
                self.shared.options.frame_bytes_max
            ))),
        }
    }

    async fn turn(&mut self) -> Turn {
        let Driver { shared, line, outgoing, written, incoming, timer, is_timer_armed, .. } = self;
        let mut rung = pin!(shared.bell.notified());
        poll_fn(|cx| {
            match line {
                Line::Idle => {}
                Line::Dialling(dialling) => match dialling.as_mut().poll(cx) {
                    Poll::Ready(Ok(link)) => return Poll::Ready(Turn::Dialled(link)),
                    Poll::Ready(Err(e)) => return Poll::Ready(Turn::Lost(Loss::Io(e))),
                    Poll::Pending => {}
                },
                Line::Up(link) => {
                    if !outgoing.is_empty()
                        && let Poll::Ready(turn) = poll_write(link, outgoing, written, cx)
                    {
                        return Poll::Ready(match turn {
                            Turn::Lost(loss) => Turn::Lost(last_words(link, incoming, cx, loss)),
                            turn => turn,
                        });
                    }
                    if let Poll::Ready(turn) = poll_read(link, incoming, cx) {
                        return Poll::Ready(turn);
                    }
                }
            }
            if rung.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Turn::Rung);
            }
            if timer.as_mut().poll(cx).is_ready() {
                *is_timer_armed = false;
                return Poll::Ready(Turn::Time);
            }
            Poll::Pending
        })
        .await
    }

    /// Asks a server on a connection of its own whether it is read-only.
    fn probe(&self, server: usize) {
        let shared = Arc::downgrade(&self.shared);
        tokio::spawn(async move {
            if matches!(timeout(PROBE_TIMEOUT, is_read_write(&shared, server)).await, Ok(Ok(true)))
                && let Some(shared) = shared.upgrade()
            {
                shared.step(Input::ReadWriteServer(server));
            }
        });
    }
}

fn poll_write(
    link: &mut Link,
    bytes: &[u8],
    written: &mut usize,
    cx: &mut Context<'_>,
) -> Poll<Turn> {
    let mut link = Pin::new(link);
    while *written < bytes.len() {
        match link.as_mut().poll_write(cx, &bytes[*written..]) {
            Poll::Ready(Ok(0)) => return Poll::Ready(Turn::Lost(Loss::text("it takes no bytes"))),
            Poll::Ready(Ok(n)) => *written += n,
            Poll::Ready(Err(e)) => return Poll::Ready(Turn::Lost(Loss::Io(e))),
            Poll::Pending => return Poll::Pending,
        }
    }
    match link.poll_flush(cx) {
        Poll::Ready(Ok(())) => Poll::Ready(Turn::Wrote),
        Poll::Ready(Err(e)) => Poll::Ready(Turn::Lost(Loss::Io(e))),
        Poll::Pending => Poll::Pending,
    }
}

/// What the other end has said before it closed a connection that takes no more bytes: an alert of
/// TLS says more than a broken pipe.
fn last_words(link: &mut Link, incoming: &mut Vec<u8>, cx: &mut Context<'_>, loss: Loss) -> Loss {
    match poll_read(link, incoming, cx) {
        Poll::Ready(Turn::Lost(Loss::Io(error))) if tls::trouble(&error, None).is_some() => {
            Loss::Io(error)
        }
        _ => loss,
    }
}

fn poll_read(link: &mut Link, incoming: &mut Vec<u8>, cx: &mut Context<'_>) -> Poll<Turn> {
    incoming.reserve(READ_LEN);
    pin!(link.read_buf(incoming)).poll(cx).map(|read| match read {
        Ok(0) => Turn::Lost(Loss::text(CLOSED_AT_ONCE)),
        Ok(_) => Turn::Read,
        Err(e) => Turn::Lost(Loss::Io(e)),
    })
}

/// The four letters `isro`, as Apache's client asks them. Servers answer without a newline, and
/// some proxies add one.
async fn is_read_write(shared: &Weak<Shared>, server: usize) -> io::Result<bool> {
    let Some((address, tls)) = shared.upgrade().and_then(|shared| {
        Some((shared.options.servers.get(server)?.clone(), shared.options.tls.clone()))
    }) else {
        return Ok(false);
    };
    let mut link = Link::dial(&address, tls.as_deref()).await?;
    link.write_all(b"isro").await?;
    let mut answer = Vec::new();
    link.take(3).read_to_end(&mut answer).await?;
    Ok(answer.starts_with(b"rw"))
}
