//! Who is let in: how many, from where, how fast, and how large their requests may be.

pub mod address;
pub mod admission;
pub mod body;
pub mod cors;
pub mod misses;
pub mod origins;
#[cfg(test)]
mod properties;
pub mod rate;

pub use address::TrustedProxies;
pub use admission::{Admission, Gate, Seat, Turned};
pub use misses::Misses;
pub use origins::Origins;
pub use rate::AddressLimit;
