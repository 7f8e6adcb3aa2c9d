//! To come.

pub mod live;
