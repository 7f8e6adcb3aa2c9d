//! Promises to users, each in a file of its own.
