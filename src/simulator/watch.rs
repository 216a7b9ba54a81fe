//! Who is told about changes to files: streams (`WatchDir`) and pollers (`CreateWatcher`).

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::files::{Entry, below, name};
use super::locked;
use super::reply::set;

/// What happened to a path.
#[derive(Clone, Copy)]
pub(super) enum Change {
    Create,
    Write,
    Remove,
    Rename,
}

impl Change {
    fn as_str(self) -> &'static str {
        match self {
            Self::Create => "EVENT_TYPE_CREATE",
            Self::Write => "EVENT_TYPE_WRITE",
            Self::Remove => "EVENT_TYPE_REMOVE",
            Self::Rename => "EVENT_TYPE_RENAME",
        }
    }
}

/// What a watcher wants to know.
pub(super) struct Watch {
    pub(super) directory: String,
    pub(super) recursive: bool,
    pub(super) include_entry: bool,
}

struct Listener {
    watch: Watch,
    events: mpsc::UnboundedSender<Value>,
}

/// All watchers of one sandbox.
#[derive(Default)]
pub(super) struct Watchers {
    listeners: Mutex<Vec<Listener>>,
    polled: Mutex<BTreeMap<String, mpsc::UnboundedReceiver<Value>>>,
    created: AtomicU64,
}

impl Watchers {
    /// Events from now on, as `filesystem.FilesystemEvent` in JSON; dropping the receiver ends the watch.
    pub(super) fn watch(&self, watch: Watch) -> mpsc::UnboundedReceiver<Value> {
        let (events, receiver) = mpsc::unbounded_channel();
        locked(&self.listeners).push(Listener { watch, events });
        receiver
    }

    /// A watch that is asked for its events; its id.
    pub(super) fn create(&self, watch: Watch) -> String {
        let id = format!("w{}", self.created.fetch_add(1, Ordering::Relaxed));
        let receiver = self.watch(watch);
        locked(&self.polled).insert(id.clone(), receiver);
        id
    }

    /// The events since last asked, or `None` for an unknown id.
    pub(super) fn drain(&self, id: &str) -> Option<Vec<Value>> {
        let mut polled = locked(&self.polled);
        let receiver = polled.get_mut(id)?;
        Some(std::iter::from_fn(|| receiver.try_recv().ok()).collect())
    }

    /// Ends a polled watch; whether there was one.
    pub(super) fn remove(&self, id: &str) -> bool {
        locked(&self.polled).remove(id).is_some()
    }

    /// Tells everybody concerned.
    pub(super) fn tell(&self, change: Change, path: &str, entry: Option<&Entry>) {
        locked(&self.listeners).retain(|listener| {
            let watch = &listener.watch;
            let Some(rest) = below(&watch.directory, path) else {
                return !listener.events.is_closed();
            };
            if !watch.recursive && rest != name(path) {
                return !listener.events.is_closed();
            }
            let mut event = json!({ "name": rest, "type": change.as_str() });
            if let (true, Some(entry)) = (watch.include_entry, entry) {
                set(&mut event, "entry", entry.json());
            }
            listener.events.send(event).is_ok()
        });
    }
}
