//! What the end-to-end tests run against: a simulated sandbox API, and the real gateway program in front of it.

pub(crate) mod gateway;
pub(crate) mod http;
pub(crate) mod keys_file;
pub(crate) mod keepalive;
pub(crate) mod world;

pub(crate) use gateway::Gateway;
pub(crate) use http::{Answer, Ask};
pub(crate) use keepalive::KeepAlive;
pub(crate) use world::World;
