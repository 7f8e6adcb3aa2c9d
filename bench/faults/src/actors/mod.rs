//! Who uses the cluster: clients that speak the protocol as the official SDKs do, and publishers.

mod client;
mod guest;
mod operator;
mod publisher;
mod sdk;

pub use client::{Client, Control, Status};
pub use guest::{Guest, Pass};
pub use operator::Operator;
pub use publisher::{Backend, Publisher};
pub use sdk::Sdk;
