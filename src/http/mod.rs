//! The axum edge.

pub mod demo;
