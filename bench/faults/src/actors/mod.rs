//! Who uses the cluster: clients that speak the protocol as the official SDKs do, and publishers.

mod client;
mod publisher;

pub use client::{Client, Control, Status};
pub use publisher::{Backend, Publisher};
