//! Membership without a network.

mod view;
