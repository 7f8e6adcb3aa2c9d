//! What a server says of itself.

use serde::Deserialize;

/// The INFO of a server, as far as it matters here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ServerInfo {
    pub server_id: String,
    pub server_name: String,
    pub version: String,
    /// The cluster's name; empty without one.
    pub cluster: String,
    /// The number of this connection in the server's monitoring.
    pub client_id: u64,
    pub headers: bool,
    /// Bytes in a message.
    pub max_payload: u64,
    pub tls_required: bool,
    pub tls_available: bool,
    /// What is to be signed by who authenticates with a key.
    pub nonce: Option<String>,
    /// `host:port` of every server of the cluster.
    pub connect_urls: Vec<String>,
    /// The server is about to stop and wants its clients to go elsewhere.
    #[serde(rename = "ldm")]
    pub lame_duck: bool,
}
