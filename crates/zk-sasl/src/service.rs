//! What there is to authenticate to.

/// What a name is good for; realm, host and protocol of an exchange.
#[derive(PartialEq, Eq, Debug)]
pub struct Service {
    protocol: &'static str,
    /// What the server calls itself: realm and host at once.
    pub(crate) realm: &'static str,
    /// Names become ids of the scheme `sasl`: Apache looks for rules that map those with an `@`, as
    /// for Kerberos principals, and does not mind whom somebody wants to act for. Where they do
    /// not, nobody acts for another.
    pub(crate) maps_names: bool,
}

impl Service {
    /// A server for its clients.
    pub const CLIENTS: &Service =
        &Service { protocol: "zookeeper", realm: "zk-sasl-md5", maps_names: true };
    /// A member of an ensemble for the others (`QuorumAuth`).
    pub const MEMBERS: &Service =
        &Service { protocol: "zookeeper-quorum", realm: "zk-quorum-sasl-md5", maps_names: false };

    /// What a claimant must say that it is talking to.
    pub(crate) fn digest_uri(&self) -> String {
        format!("{}/{}", self.protocol, self.realm)
    }
}

/// Random bytes of a nonce, as in Java.
pub const NONCE_BYTES: usize = 30;
/// Bytes that nobody can foresee, for one exchange; printed in base64.
pub type Nonce = [u8; NONCE_BYTES];
