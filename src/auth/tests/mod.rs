//! What the room promises, told from outside: tokens go in, grants or refusals come out.

mod algorithms;
mod fixtures;
mod foreign;
mod grants;
mod issuing;
mod key_server;
mod key_sets;
mod refusals;
mod remote_keys;
mod rubbish;
mod supabase;
