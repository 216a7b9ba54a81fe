//! What the operating system offers beyond the standard library, and what is not the same on Linux and FreeBSD.
//!
//! Service managers' sockets and notices, messages that carry descriptors, and the choice of how workers share a port.
//! Nothing here knows what the gateway does with any of it, and nothing else asks which system it runs on.

pub mod inherited;
pub mod link;
pub mod notify;

/// Whether several sockets on one address share its connections evenly (`SO_REUSEPORT`), so that each worker can have its
/// own. On FreeBSD the same option gives them all to one socket.
pub const SPREADS_PORTS: bool = cfg!(target_os = "linux");

/// Time since the system started, in microseconds, by the clock of `CLOCK_MONOTONIC`, which service managers compare with
/// their own.
#[must_use]
pub fn monotonic_micros() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let micros = i128::from(time.tv_sec) * 1_000_000 + i128::from(time.tv_nsec) / 1_000;
    u64::try_from(micros).unwrap_or_default()
}
