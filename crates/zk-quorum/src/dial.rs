//! Connecting to a member: names are resolved anew each time, and all addresses tried.

use std::io;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use zk_zab::HostPort;

/// Why a member is not reached.
#[derive(Debug)]
pub enum DialError {
    /// Every address has refused: there is no such process.
    Refused,
    /// Something else, at the last address that was tried.
    Failed(io::Error),
}

/// Connects to the first address that answers, with so much time for each.
///
/// # Errors
/// Why the last one does not.
pub async fn dial(addresses: &[HostPort], patience: Duration) -> Result<TcpStream, DialError> {
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
        for address in resolved {
            failure = match timeout(patience, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => error,
                Err(_) => io::ErrorKind::TimedOut.into(),
            };
            all_refuse &= failure.kind() == io::ErrorKind::ConnectionRefused;
        }
    }
    let is_refused = all_refuse && failure.kind() == io::ErrorKind::ConnectionRefused;
    Err(if is_refused { DialError::Refused } else { DialError::Failed(failure) })
}
