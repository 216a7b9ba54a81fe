//! Look-ups for callers who must not learn whether a sandbox that is not theirs exists.
//!
//! What the upstream is asked for them, and so how long they wait and what they are told when it cannot be asked, is the
//! same as for an id that nobody has, however well the sandbox is known for its owner's sake.

use std::future::Future;
use std::sync::Arc;

use super::{Asked, Directory, Unavailable};
use crate::sandbox::Sandbox;
use crate::target::SandboxId;

impl Directory {
    /// As [`Self::find`], for a caller to whom all but those sandboxes that `is_theirs` accepts are absent.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub async fn find_theirs<F: Future<Output = Asked>>(
        &self,
        id: &SandboxId,
        is_theirs: impl Fn(&Sandbox) -> bool,
        ask: impl Fn() -> F,
    ) -> Result<Option<Arc<Sandbox>>, Unavailable> {
        let (entry, was_asked) = match self.recall(id) {
            Some(slot) => (slot.entry, false),
            None => (self.find_out(id, &ask).await?, true),
        };
        match entry.known() {
            Some(sandbox) if !is_theirs(&sandbox) => {
                self.deny(id, was_asked, ask).await.map(|()| None)
            }
            found => Ok(found),
        }
    }

    /// As [`Self::find_theirs`], where it only matters whose the sandbox is: the record may tell nothing else.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub async fn whose_theirs<F: Future<Output = Asked>>(
        &self,
        id: &SandboxId,
        is_theirs: impl Fn(&Sandbox) -> bool,
        ask: impl Fn() -> F,
    ) -> Result<Option<Arc<Sandbox>>, Unavailable> {
        match self.listed(id) {
            Some(listed) if is_theirs(&listed) => Ok(Some(listed)),
            Some(_) => self.deny(id, false, ask).await.map(|()| None),
            None => self.find_theirs(id, is_theirs, ask).await,
        }
    }

    /// Asks what would be asked about an absent sandbox, and remembers for as long that it was. `was_asked` says that
    /// this call has done so already.
    ///
    /// # Errors
    /// [`Unavailable`] when `ask` fails.
    pub async fn deny<F: Future<Output = Asked>>(
        &self,
        id: &SandboxId,
        was_asked: bool,
        ask: impl Fn() -> F,
    ) -> Result<(), Unavailable> {
        let asking = async { if was_asked { Ok(()) } else { ask().await.map(drop) } };
        let denied = self.denied.try_get_with_by_ref(id, Box::pin(asking)).await;
        denied.map_err(|unavailable| *unavailable)
    }

    /// Whether [`Self::deny`] would ask nothing.
    #[must_use]
    pub fn was_denied(&self, id: &SandboxId) -> bool {
        self.denied.contains_key(id)
    }
}
