//! The operator's auth service: the one that the documentation shows ([`FastApi`]), and one that does whatever a test says
//! ([`Scripted`]).
//!
//! Both listen on loopback and end with the value. What the gateway sent is kept as it came over the wire.

mod fastapi;
mod scripted;
mod talk;
mod unreachable;

pub(crate) use fastapi::{FastApi, Known};
pub(crate) use scripted::Scripted;
pub(crate) use talk::{Call, Reply};
pub(crate) use unreachable::{Deaf, Full};
