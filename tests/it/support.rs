//! What the end-to-end tests run against: a simulated sandbox API, and the real gateway program in front of it.
//!
//! A [`World`] is the usual arrangement. Where an upstream must do what no server does, a test either scripts it
//! ([`Upstream`]) or plays it, step by step, on a [`Wire`]. Whatever a test waits for, it waits for with [`wait`].

pub(crate) mod app;
pub(crate) mod authority;
pub(crate) mod callback;
pub(crate) mod client;
pub(crate) mod frames;
pub(crate) mod front;
pub(crate) mod gateway;
pub(crate) mod http;
pub(crate) mod keys_file;
pub(crate) mod load;
pub(crate) mod nginx;
pub(crate) mod program;
pub(crate) mod telemetry;
pub(crate) mod tls;
pub(crate) mod upstream;
pub(crate) mod wait;
pub(crate) mod wire;
pub(crate) mod world;

pub(crate) use app::App;
pub(crate) use gateway::Gateway;
pub(crate) use http::{Answer, Ask};
pub(crate) use program::Program;
pub(crate) use upstream::Upstream;
pub(crate) use wire::{Wire, exchange};
pub(crate) use world::World;
