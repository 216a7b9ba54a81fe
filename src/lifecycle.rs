//! From start to end: signals, reloads, and the two phases of stopping.
//!
//! First SIGTERM or SIGINT: stop accepting and let streams finish; at the deadline, or with a second signal, close what is left. SIGHUP, or a changed
//! keys file, reloads without touching a connection; a reload that fails keeps what is in force and says so.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// The two steps of stopping, shared by everything that runs.
#[derive(Clone, Debug, Default)]
pub struct Phases {
    /// No new connections and requests; what runs may finish.
    pub drain: CancellationToken,
    /// Everything ends now.
    pub stop: CancellationToken,
}

/// How often the keys file is looked at: a change takes effect within two seconds.
pub const LOOK: Duration = Duration::from_secs(1);
