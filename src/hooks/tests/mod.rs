//! What the room promises: questions as Centrifugo's proxies ask them, every answer and every failure told apart.

mod answers;
pub(crate) mod backend;
pub(crate) mod fixtures;
mod http;
mod nats;
mod rpc;
mod rubbish;
