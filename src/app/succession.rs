//! What a gateway hands to the process that takes its place, and how it goes on with what it is handed.
//!
//! Everything that must have one owner changes hands here: what is listened on, the file of the audit journal, the count
//! of active sandboxes, the record of owners, the secret that is in memory alone. How it travels is no business of this
//! module.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::{App, Place, lock};
use crate::listener::bind::Socket;
use crate::principal::TenantId;
use crate::proxy::admission::Admits;
use crate::quota::{OpenSlot, Told};
use crate::secret::Secret;
use crate::target::SandboxId;
use crate::worker::{Adopted, Heir};

/// How long it may take until the audit journal is on the disk.
const JOURNAL: Duration = Duration::from_secs(5);

/// What a process leaves behind that is in its memory alone.
#[derive(Debug, Default)]
pub struct Estate {
    /// What seals sandbox tokens, where nothing else says.
    pub secret: Option<Secret>,
    /// The slots of sandboxes that may come into being; none: no process was there before.
    pub slots: Option<Vec<OpenSlot>>,
    /// Whose sandboxes are, and whether they were made with a marker.
    pub owners: Vec<Owner>,
}

/// A sandbox on record, whose it is or that it is gone, and whether it was made with a marker.
pub type Owner = (SandboxId, Option<TenantId>, bool);

/// What the process that was replaced has still to tell.
#[derive(Debug)]
pub enum Late {
    /// Of the count of active sandboxes.
    Count(Told),
    /// Of the record of owners.
    Owner(Owner),
    /// An audit event's object.
    Event(Vec<u8>),
}

/// Tells such things.
pub type TellLate = Arc<dyn Fn(Late) + Send + Sync>;

impl App {
    /// What it listens on, once more.
    ///
    /// # Errors
    /// There is no descriptor left.
    pub fn sockets(&self) -> io::Result<Vec<(Place, Socket)>> {
        let sockets = lock(&self.sockets);
        sockets.iter().map(|(place, socket)| Ok((place.clone(), socket.try_clone()?))).collect()
    }

    /// Lets go of what only one process may have. Requests go on meanwhile: their events wait, and those that would start
    /// sandboxes are left to `admits`. `None`: the journal cannot be let go of, and nothing has changed.
    pub fn let_go(&self, tell: &TellLate, admits: Arc<dyn Admits>) -> Option<Estate> {
        if self.journal.as_ref().is_some_and(|journal| !journal.pause(JOURNAL)) {
            return None;
        }
        self.shared.admissions.elsewhere.set(Some(admits));
        let told = Arc::clone(tell);
        let slots = self.ledger.hand_over(move |what| told(Late::Count(what)));
        let told = Arc::clone(tell);
        let owners = self.shared.gate.directory.ownership().hand_over(move |id, tenant, marked| {
            told(Late::Owner((id.clone(), tenant.cloned(), marked)));
        });
        let owners = owners.into_iter().map(|(id, tenant, marked)| (id, Some(tenant), marked));
        Some(Estate {
            secret: self.secret.as_ref().map(|secret| Secret::new(secret.expose().to_owned())),
            slots: Some(slots),
            owners: owners.collect(),
        })
    }

    /// Takes everything back, since the other process did not begin.
    pub fn take_back(&self) {
        if let Some(journal) = &self.journal {
            journal.resume();
        }
        self.ledger.take_back();
        self.shared.gate.directory.ownership().take_back();
        self.shared.admissions.elsewhere.set(None);
    }

    /// Leaves everything to the process that has begun, and drains: connections between two requests go to `heir`.
    pub fn leave(&self, tell: &TellLate, heir: impl Fn(Adopted) + Send + Sync + 'static) {
        if let Some(journal) = &self.journal {
            let tell = Arc::clone(tell);
            journal.pass_on(move |object| tell(Late::Event(object)));
        }
        // Nobody leaves before this.
        let _ = self.shared.heir.set(Heir(Box::new(heir)));
        self.phases.succession.begin();
        self.drain();
    }

    /// Goes on with a connection of the process before this one, if there is a place for it.
    pub fn adopt(&self, number: usize, adopted: Adopted) {
        let Ok(place) = Arc::clone(&self.shared.places).try_acquire_owned() else {
            tracing::warn!(
                "a connection of the process before this one finds no place, and is closed"
            );
            return;
        };
        let adopting = lock(&self.adopting);
        if let Some(worker) = number.checked_rem(adopting.len()).and_then(|at| adopting.get(at)) {
            // Workers end after the last one that could come.
            let _ = worker.send((adopted, place));
        }
    }

    /// Takes note of what the process before this one tells.
    pub fn hear(&self, late: Late) {
        match late {
            Late::Count(told) => self.ledger.hear(told),
            Late::Owner((id, tenant, marked)) => {
                self.shared.gate.directory.ownership().learn(&id, tenant.as_ref(), marked);
            }
            Late::Event(object) => {
                let object = String::from_utf8(object).ok();
                let object =
                    object.and_then(|text| serde_json::value::RawValue::from_string(text).ok());
                if let (Some(journal), Some(object)) = (&self.journal, object) {
                    journal.offer(Arc::new(object));
                }
            }
        }
    }

    /// There is no process before this one, or none any more.
    pub fn hear_no_more(&self) {
        lock(&self.adopting).clear();
        self.ledger.hear_no_more();
    }
}
