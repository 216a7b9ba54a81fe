//! The two steps of stopping, as everything that runs sees them.

use tokio_util::sync::CancellationToken;

/// The two steps of stopping, shared by everything that runs.
#[derive(Clone, Debug, Default)]
pub struct Phases {
    /// No new connections and requests; what runs may finish.
    pub drain: CancellationToken,
    /// Everything ends now.
    pub stop: CancellationToken,
}
