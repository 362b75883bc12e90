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
pub(crate) async fn dial(
    addresses: &[HostPort],
    patience: Duration,
) -> Result<TcpStream, DialError> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "it has no address");
    let mut is_refused = false;
    for address in addresses {
        let resolved = match lookup_host((&*address.host, address.port)).await {
            Ok(resolved) => resolved,
            Err(error) => {
                (failure, is_refused) = (error, false);
                break;
            }
        };
        for address in resolved {
            match timeout(patience, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    stream.set_nodelay(true).map_err(DialError::Failed)?;
                    return Ok(stream);
                }
                Ok(Err(error)) => {
                    let refuses = error.kind() == io::ErrorKind::ConnectionRefused;
                    is_refused =
                        refuses && (is_refused || failure.kind() == io::ErrorKind::NotFound);
                    failure = error;
                }
                Err(_) => (failure, is_refused) = (io::ErrorKind::TimedOut.into(), false),
            }
        }
    }
    Err(if is_refused { DialError::Refused } else { DialError::Failed(failure) })
}
