//! The HTTP server of operators: commands, `/metrics`, snapshots and restores (operations 4, 5).
//!
//! Differs from Apache in: a wrong verb is 405 instead of a stack trace, requests that a foreign
//! web page makes a browser send are refused, as are commands while many wait (503), and failures
//! carry their reason in the field `error`.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::command::{self, COMMANDS, Command};
use super::environment;
use super::facts::{Authorization, Inspect};
use super::json::Json;
use super::lobby::{Lobby, MAX_CONNECTIONS, Stay};
use super::payload::{self, Payload};
use super::prometheus;
use super::rate::{BUSY, Queue, RateLimiter, Turns};
use super::visitor::Names;
use crate::config::{AdminSettings, ServerConfig};
use crate::net::canonical;

/// Commands at once: each may walk the whole tree.
const MAX_COMMANDS: usize = 2;
/// Rest after an accept that failed, for instance because files ran out.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
const JSON: &str = "application/json";

/// Serves operators over HTTP.
pub struct AdminServer {
    settings: AdminSettings,
    server: Arc<dyn Inspect>,
    snapshots: RateLimiter,
    restores: RateLimiter,
    /// Commands that list something.
    lists: Queue,
    /// Turns of their own: who asks whether the server is well, and collectors, must not wait
    /// behind those who list it.
    commands: Turns,
    metrics: Turns,
    names: Names,
}

/// What a listener shows.
#[derive(Clone, Copy, PartialEq)]
enum Surface {
    Everything,
    Metrics,
}

type Answer = Response<Payload>;
type Fields = Vec<(String, Json)>;

impl AdminServer {
    /// A server that asks `server`.
    #[must_use]
    pub fn new(settings: AdminSettings, server: Arc<dyn Inspect>) -> Arc<AdminServer> {
        let interval = Duration::from_millis(settings.rate_interval_ms.into());
        let names = names(&settings, server.config());
        Arc::new(AdminServer {
            settings,
            server,
            snapshots: RateLimiter::new(interval),
            restores: RateLimiter::new(interval),
            lists: Queue::new(MAX_COMMANDS),
            commands: Turns::new(MAX_COMMANDS),
            metrics: Turns::new(1),
            names,
        })
    }

    /// Serves commands and `/metrics` until the future is dropped, which closes all connections.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        self.accept(listener, Surface::Everything).await;
    }

    /// Serves `/metrics` alone, for the listener that `metricsProvider.httpPort` asks for.
    pub async fn serve_metrics(self: Arc<Self>, listener: TcpListener) {
        self.accept(listener, Surface::Metrics).await;
    }

    async fn accept(self: Arc<Self>, listener: TcpListener, surface: Surface) {
        // Those of another listener must not make room for these.
        let (lobby, mut connections) = (Arc::new(Lobby::new()), JoinSet::new());
        loop {
            let (stream, peer) = match listener.accept().await {
                Ok((stream, peer)) => (stream, canonical(peer)),
                Err(error) => {
                    tracing::warn!(%error, "the admin server cannot accept a connection");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                    continue;
                }
            };
            while connections.try_join_next().is_some() {}
            while connections.len() >= MAX_CONNECTIONS {
                lobby.set_full(true);
                tokio::select! {
                    _ = connections.join_next() => {}
                    () = lobby.make_place() => {}
                }
            }
            lobby.set_full(false);
            connections.spawn(self.clone().connection(stream, peer, surface, lobby.clone()));
        }
    }

    /// Serves one connection of a fuzz target.
    #[cfg(fuzzing)]
    pub async fn serve_one(self: Arc<Self>, stream: tokio::io::DuplexStream, peer: SocketAddr) {
        let lobby = Arc::new(Lobby::new());
        self.connection(stream, peer, Surface::Everything, lobby).await;
    }

    async fn connection(
        self: Arc<Self>,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        peer: SocketAddr,
        surface: Surface,
        lobby: Arc<Lobby>,
    ) {
        let idle = Duration::from_millis(self.settings.idle_timeout_ms.into());
        let stay = Arc::new(lobby.enter());
        let service = service_fn(|request| {
            let (admin, stay) = (self.clone(), stay.clone());
            async move {
                let _serving = stay.serve();
                let mut answer = admin.answer(request, peer, surface, &stay).await;
                if stay.is_last() {
                    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(answer)
            }
        });
        let served = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(idle)
            .max_buf_size(64 << 10)
            .serve_connection(TokioIo::new(stay.watch(stream)), service);
        tokio::select! {
            served = served => if let Err(error) = served {
                tracing::debug!(%peer, %error, "an admin connection ended");
            },
            () = stay.is_over(idle) => tracing::debug!(%peer, "an admin client let the server wait"),
        }
    }

    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: SocketAddr,
        surface: Surface,
        stay: &Arc<Stay>,
    ) -> Answer {
        let path = request.uri().path().to_owned();
        let below = path.strip_prefix(self.settings.command_url.as_str());
        let name = below.and_then(|rest| rest.strip_prefix('/'));
        let changes = name.and_then(command::find).is_some_and(|(hit, _)| hit.changes_unasked());
        if let Some(refusal) = self.names.refusal(request.headers(), changes) {
            return plain(StatusCode::FORBIDDEN, &refusal);
        }
        if ![Method::GET, Method::HEAD, Method::POST].contains(request.method()) {
            return plain(StatusCode::METHOD_NOT_ALLOWED, "use GET, or POST for restore\n");
        }
        if path == "/metrics" && request.method() != Method::POST {
            return self.metrics(stay).await;
        }
        if surface == Surface::Metrics {
            return plain(StatusCode::NOT_FOUND, "only /metrics is here\n");
        }
        match name {
            Some("") => self.index(),
            Some(name) => self.command(name, request, peer, stay).await,
            None if below == Some("") => self.index(),
            None => {
                let url = &self.settings.command_url;
                plain(StatusCode::NOT_FOUND, &format!("commands are at {url}\n"))
            }
        }
    }

    fn index(&self) -> Answer {
        let url = &self.settings.command_url;
        let links = COMMANDS.iter().map(|(_, names)| names[0]);
        let links = links.map(|name| format!("<a href=\"{url}/{name}\">{name}</a>\n<br/>\n"));
        let page = links.collect::<String>();
        answer(StatusCode::OK, "text/html; charset=utf-8", Payload::text(page))
    }

    async fn metrics(self: &Arc<Self>, stay: &Arc<Stay>) -> Answer {
        let text = self.blocking(&self.metrics, |admin| prometheus::text(&*admin.server)).await;
        match text {
            Some(text) => {
                let text = Payload::text(stay.hold(text.into()));
                answer(StatusCode::OK, prometheus::CONTENT_TYPE, text)
            }
            None => plain(StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be had\n"),
        }
    }

    async fn command(
        self: &Arc<Self>,
        name: &str,
        request: Request<Incoming>,
        peer: SocketAddr,
        stay: &Arc<Stay>,
    ) -> Answer {
        let Some((command, primary)) = command::find(name) else {
            let error = format!("Unknown command: {name}");
            return json(StatusCode::OK, name, Vec::new(), Some(&error));
        };
        let place = if command.is_list() { self.lists.enter() } else { None };
        if command.is_list() && place.is_none() {
            return json(StatusCode::SERVICE_UNAVAILABLE, primary, Vec::new(), Some(BUSY));
        }
        let turns = if place.is_some() { &self.lists.turns } else { &self.commands };
        if command.needs_authorization()
            && let Err((status, error)) = self.authorize(&request, peer).await
        {
            return json(status, name, Vec::new(), Some(error));
        }
        let arguments = arguments(request.uri().query().unwrap_or_default());
        let is_post = request.method() == Method::POST;
        if is_post != (command == Command::Restore) {
            let verb = if is_post { "GET" } else { "POST" };
            let error = format!("{primary} must be asked for with {verb}");
            return json(StatusCode::METHOD_NOT_ALLOWED, primary, Vec::new(), Some(&error));
        }
        match command {
            Command::Snapshot => self.snapshot(&arguments).await,
            Command::Restore => self.restore(request.into_body(), stay).await,
            command => {
                let run = move |admin: &AdminServer| {
                    let ran = command::run(command, &arguments, &*admin.server);
                    let (fields, error) = match ran {
                        Ok(fields) => (fields, None),
                        Err(error) => (Vec::new(), Some(error)),
                    };
                    command::body(fields, primary, error.as_deref())
                };
                match self.blocking(turns, run).await {
                    Some(text) => {
                        answer(StatusCode::OK, JSON, Payload::text(stay.hold(text.into())))
                    }
                    None => failed(primary, "the command could not be run"),
                }
            }
        }
    }

    /// Checks the header `Authorization: <scheme> [data]`.
    async fn authorize(
        self: &Arc<Self>,
        request: &Request<Incoming>,
        peer: SocketAddr,
    ) -> Result<(), (StatusCode, &'static str)> {
        const NOT_AUTHENTICATED: (StatusCode, &str) =
            (StatusCode::UNAUTHORIZED, "Not authenticated");
        if !self.server.is_serving() {
            return Err((StatusCode::OK, super::text::NOT_SERVING));
        }
        let Some(header) = request.headers().get(AUTHORIZATION) else {
            return Err((StatusCode::UNAUTHORIZED, "Auth info is missing for the command"));
        };
        let text = header.to_str().map_err(|_| NOT_AUTHENTICATED)?;
        let mut words = text.split(' ').map(str::to_owned);
        let (scheme, auth) = (words.next().unwrap_or_default(), words.next());
        if words.next().is_some() {
            return Err(NOT_AUTHENTICATED);
        }
        let check = move |admin: &AdminServer| {
            admin.server.authorize(&scheme, auth.as_ref().map(|auth| auth.as_bytes()), peer.ip())
        };
        match self.blocking(&self.commands, check).await {
            Some(Authorization::Granted) => Ok(()),
            Some(Authorization::NotAuthenticated) => Err(NOT_AUTHENTICATED),
            Some(Authorization::NotAuthorized) => Err((StatusCode::FORBIDDEN, "Not authorized")),
            None => Err((StatusCode::INTERNAL_SERVER_ERROR, "Error occurred during auth")),
        }
    }

    /// The refusal of a snapshot or restore that must not start.
    fn refusal(&self, name: &str, enabled: bool, limiter: &RateLimiter) -> Option<Answer> {
        let refuse = |status, error: &str| Some(json(status, name, Vec::new(), Some(error)));
        if !enabled {
            let error = format!("admin.{name}.enabled is false");
            return refuse(StatusCode::SERVICE_UNAVAILABLE, &error);
        }
        if !self.server.config().storage.snapshot_has_zxid {
            let error = "serializeLastProcessedZxid.enabled must be true for this";
            return refuse(StatusCode::INTERNAL_SERVER_ERROR, error);
        }
        if !limiter.allows(Instant::now()) {
            let error = format!("{name} ran less than {} ms ago", self.settings.rate_interval_ms);
            return refuse(StatusCode::TOO_MANY_REQUESTS, &error);
        }
        None
    }

    async fn snapshot(self: &Arc<Self>, arguments: &[(String, String)]) -> Answer {
        const NAME: &str = "snapshot";
        let enabled = self.settings.snapshot_enabled;
        if let Some(refusal) = self.refusal(NAME, enabled, &self.snapshots) {
            if refusal.status() == StatusCode::TOO_MANY_REQUESTS {
                self.server.metrics().snapshot_rate_limited_count.add(1);
            }
            return refusal;
        }
        let streaming = arguments.iter().find(|(name, _)| name == "streaming");
        let streaming = streaming.is_none_or(|(_, value)| value.eq_ignore_ascii_case("true"));
        let taken = match self.blocking(&self.lists.turns, |admin| admin.server.snapshot()).await {
            Some(Ok(taken)) if taken.len > 0 => taken,
            Some(Ok(_)) => return self.snapshot_failed("the snapshot is empty"),
            Some(Err(error)) => return self.snapshot_failed(&error.to_string()),
            None => return self.snapshot_failed("the snapshot could not be taken"),
        };
        let (zxid, len) = (taken.zxid, taken.len);
        let mut response = if streaming {
            let content = Payload::stream(taken.content);
            answer(StatusCode::OK, "application/octet-stream", content)
        } else {
            json(StatusCode::OK, NAME, Vec::new(), None)
        };
        // Digits and letters are always valid in a header.
        if let Ok(value) = HeaderValue::from_str(&zxid.to_string()) {
            response.headers_mut().insert("last_zxid", value);
        }
        response.headers_mut().insert("snapshot_size", HeaderValue::from(len));
        response
    }

    fn snapshot_failed(&self, error: &str) -> Answer {
        self.server.metrics().snapshot_error_count.add(1);
        tracing::warn!(error, "an operator's snapshot failed");
        failed("snapshot", error)
    }

    async fn restore(self: &Arc<Self>, body: Incoming, stay: &Arc<Stay>) -> Answer {
        const NAME: &str = "restore";
        let enabled = self.settings.restore_enabled;
        if let Some(refusal) = self.refusal(NAME, enabled, &self.restores) {
            if refusal.status() == StatusCode::TOO_MANY_REQUESTS {
                self.server.metrics().restore_rate_limited_count.add(1);
            }
            return refusal;
        }
        let (mut reader, pump) = payload::reader(body, stay.clone());
        let run = self.blocking(&self.lists.turns, move |admin: &AdminServer| {
            let start = Instant::now();
            let result = admin.server.restore(&mut reader);
            admin.server.metrics().restore_time.record_time(start.elapsed());
            if let Err(error) = &result {
                // Here, since its client may have been let go.
                admin.server.metrics().restore_error_count.add(1);
                tracing::warn!(%error, "an operator's restore failed");
            }
            result
        });
        let error = match tokio::join!(run, pump).0 {
            Some(Ok(zxid)) => {
                let fields = vec![("last_zxid".to_owned(), Json::Int(zxid.0))];
                return json(StatusCode::OK, NAME, fields, None);
            }
            Some(Err(error)) => error.to_string(),
            None => "the snapshot could not be restored".to_owned(),
        };
        failed(NAME, &error)
    }

    /// Does something when there is a turn; `None` if it panicked.
    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        turns: &Turns,
        work: impl FnOnce(&AdminServer) -> T + Send + 'static,
    ) -> Option<T> {
        let admin = self.clone();
        turns.run(move || work(&admin)).await
    }
}

/// By which names browsers may come: those that are in the configuration, and the machine's.
fn names(settings: &AdminSettings, config: &ServerConfig) -> Names {
    let members = config.quorum.ensemble.members.values();
    let members = members.flat_map(|member| {
        let of_quorum = member.addresses.iter().map(|address| address.host.as_str());
        of_quorum.chain(member.client.iter().map(|client| client.host.as_str()))
    });
    let listeners = [&config.listeners.client, &config.listeners.secure].into_iter().flatten();
    let machine = environment::host_name();
    Names::new(
        [settings.address.host.as_str()]
            .into_iter()
            .chain(settings.hosts.iter().map(String::as_str))
            .chain(listeners.map(|address| address.host.as_str()))
            .chain(members)
            .chain(machine.as_deref()),
    )
}

fn answer(status: StatusCode, content_type: &'static str, body: Payload) -> Answer {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}

fn plain(status: StatusCode, text: &str) -> Answer {
    answer(status, "text/plain; charset=utf-8", Payload::text(text.to_owned()))
}

fn json(status: StatusCode, command: &str, fields: Fields, error: Option<&str>) -> Answer {
    answer(status, JSON, Payload::text(command::body(fields, command, error)))
}

fn failed(command: &str, error: &str) -> Answer {
    json(StatusCode::INTERNAL_SERVER_ERROR, command, Vec::new(), Some(error))
}

/// The arguments of a query; the first of equal names counts, as in Apache.
fn arguments(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (percent_decoded(name), percent_decoded(value))
        })
        .collect()
}

fn percent_decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = |digit: &u8| (*digit as char).to_digit(16);
        rest = after;
        match (first, after) {
            (b'%', [high, low, tail @ ..]) if hex(high).is_some() && hex(low).is_some() => {
                out.push((hex(high).unwrap_or(0) << 4 | hex(low).unwrap_or(0)) as u8);
                rest = tail;
            }
            (b'+', _) => out.push(b' '),
            (other, _) => out.push(*other),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            arguments("traceMask=306&a=%2Fx+y%zz%4&b&&c=1=2"),
            [pair("traceMask", "306"), pair("a", "/x y%zz%4"), pair("b", ""), pair("c", "1=2")]
        );
        assert_eq!(arguments(""), []);
    }
}
