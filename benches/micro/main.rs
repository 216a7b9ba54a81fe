//! What the pieces of one request cost: `cargo bench --bench micro`, or with a filter, `cargo bench --bench micro -- keys`.
//!
//! No sockets and no upstream; whole requests are measured by the programs beside this directory. Only what is public is
//! called, as a request would call it. Whatever is made once for a gateway or a connection is made before the clock runs.

#![expect(clippy::unwrap_used, reason = "a bench that can't go on should stop there")]

mod account;
mod decision;
mod framework;
mod head;
mod stand;

use divan::AllocProfiler;
use mimalloc::MiMalloc;

/// The gateway's own, which counts here: the columns beside the times are allocations and their bytes.
#[global_allocator]
static ALLOCATOR: AllocProfiler<MiMalloc> = AllocProfiler::new(MiMalloc);

fn main() {
    divan::main();
}
