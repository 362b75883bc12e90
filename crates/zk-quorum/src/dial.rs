//! Connecting to a member: names are resolved anew each time, and all addresses tried.

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use zk_zab::HostPort;

use crate::{Guards, Wire};

/// Why a member is not reached.
#[derive(Debug)]
pub enum DialError {
    /// Every address has refused: there is no such process.
    Refused,
    /// Something else, at the last address that was tried.
    Failed(io::Error),
}

/// How members are dialled.
#[derive(Clone, Debug)]
pub struct DialOptions {
    /// For each address, as much again for the guards, and again to authenticate.
    pub patience: Duration,
    /// Whether the system looks by itself if the other end is there (`tcpKeepAlive`).
    pub keep_alive: bool,
    /// What guards connections.
    pub guards: Guards,
}

/// Connects to the first address that answers.
///
/// # Errors
/// Why the last one does not.
pub async fn dial(addresses: &[HostPort], options: &DialOptions) -> Result<Wire, DialError> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "it has no address");
    // Until one of them fails otherwise.
    let mut all_refuse = true;
    for address in addresses {
        let resolved = match lookup_host((&*address.host, address.port)).await {
            Ok(resolved) => resolved,
            Err(error) => {
                (failure, all_refuse) = (error, false);
                continue;
            }
        };
        for resolved in resolved {
            let error = match within(options.patience, TcpStream::connect(resolved)).await {
                Ok(stream) => match guard(stream, &address.host, options).await {
                    Ok(wire) => return Ok(wire),
                    // It refuses in its own way; there is somebody.
                    Err(error) => {
                        all_refuse = false;
                        error
                    }
                },
                Err(error) => error,
            };
            all_refuse &= error.kind() == io::ErrorKind::ConnectionRefused;
            failure = error;
        }
    }
    let is_refused = all_refuse && failure.kind() == io::ErrorKind::ConnectionRefused;
    Err(if is_refused { DialError::Refused } else { DialError::Failed(failure) })
}

/// Connects to the quorum port of a leader: there, whoever has dialled says first who it is.
///
/// # Errors
/// Why that is not possible, or the leader does not believe it, or is not believed.
pub async fn join(addresses: &[HostPort], options: &DialOptions) -> Result<Wire, DialError> {
    let mut wire = dial(addresses, options).await?;
    let authenticates = options.guards.authenticate(&mut wire);
    within(options.patience, authenticates).await.map_err(DialError::Failed)?;
    Ok(wire)
}

async fn guard(stream: TcpStream, host: &str, options: &DialOptions) -> io::Result<Wire> {
    if options.keep_alive {
        // It is of no use for one that has gone already, which is found below.
        let _ = socket2::SockRef::from(&stream).set_keepalive(true);
    }
    within(options.patience, options.guards.dialled(stream, host)).await
}

/// What takes longer has failed.
///
/// # Errors
/// That it did, or why it failed by itself.
pub async fn within<T>(
    patience: Duration,
    what: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    timeout(patience, what).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
