//! Settings: one commented file of defaults compiled in, then a file, then the environment; validated once, typed for
//! everybody behind. The only room that reads the environment.
//!
//! The structs in [`model`] are what the other rooms see. They hold no strings that still want parsing.

pub mod model;

pub use model::*;
