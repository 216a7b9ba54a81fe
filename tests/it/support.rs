//! What the end-to-end tests run against: a simulated sandbox API, and the real gateway program in front of it.

pub(crate) mod client;
pub(crate) mod front;
pub(crate) mod gateway;
pub(crate) mod http;
pub(crate) mod upstream;
pub(crate) mod wire;
pub(crate) mod world;

pub(crate) use gateway::Gateway;
pub(crate) use http::{Answer, Ask};
pub(crate) use wire::{Wire, eventually};
pub(crate) use world::World;
