//! The answer to a listing, an array of entries: whose each of them is, and what stays.
//!
//! An entry that says it in two ways, or in a way that careless readers read differently, is nobody's. Entries that stay
//! keep their bytes, save for the marker and for tokens that have no business there.

use std::borrow::Cow;
use std::collections::HashSet;

use super::super::edit;
use crate::json::{Document, Edit, Kind, Limits, Member, Object, Value, folded};
use crate::principal::TenantId;
use crate::route::Listing;
use crate::sandbox::MARKER;
use crate::target::SandboxId;

/// A listing's answer, read.
#[derive(Debug)]
pub struct Page<'a> {
    document: Document<'a>,
    entries: Vec<Entry<'a>>,
}

/// One entry.
#[derive(Debug)]
struct Entry<'a> {
    value: Value<'a>,
    owner: Owner<'a>,
    sandbox: Option<SandboxId>,
    is_running: bool,
    /// The objects that hold its marker.
    marked: Vec<Object<'a>>,
}

/// Whose an entry is, as far as it says so itself.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Owner<'a> {
    /// This tenant's, by the marker.
    Tenant(Cow<'a, str>),
    /// The owner's of the sandbox that it names.
    Sandbox,
    /// It does not say.
    Unsaid,
    /// It says so in two ways.
    Unclear,
}

/// What remains of an answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its text.
    pub json: Vec<u8>,
    /// How many entries were left out.
    pub left_out: usize,
    /// How many of the rest are running sandboxes.
    pub running: usize,
}

impl<'a> Page<'a> {
    /// Reads an answer. `None` when it is no array.
    #[must_use]
    pub fn read(json: &'a [u8], listing: Listing) -> Option<Self> {
        let document = Document::parse(json, Limits::default()).ok()?;
        let elements = document.root().as_array()?.elements();
        Some(Self { document, entries: elements.map(|value| entry(value, listing)).collect() })
    }

    /// Whether nothing is listed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The sandboxes that are shown to be `tenant`'s by their marker.
    pub fn marked(&self, tenant: &TenantId) -> impl Iterator<Item = &SandboxId> {
        let marked = |entry: &&Entry<'_>| matches!(&entry.owner, Owner::Tenant(name) if name == tenant.as_str());
        self.entries.iter().filter(marked).filter_map(|entry| entry.sandbox.as_ref())
    }

    /// The sandboxes that must be asked about to know whose their entries are, each once.
    #[must_use]
    pub fn unknown(&self) -> Vec<SandboxId> {
        let unknown = self.entries.iter().filter(|entry| entry.owner == Owner::Sandbox);
        let mut ids: Vec<_> = unknown.filter_map(|entry| entry.sandbox.clone()).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// The listed sandboxes that have no marker.
    pub fn unmarked(&self) -> impl Iterator<Item = &SandboxId> {
        let unmarked = self.entries.iter().filter(|entry| entry.owner == Owner::Unsaid);
        unmarked.filter_map(|entry| entry.sandbox.as_ref())
    }

    /// Whether there are entries that do not say whose they are.
    #[must_use]
    pub fn leaves_unsaid(&self) -> bool {
        self.entries.iter().any(|entry| entry.owner == Owner::Unsaid)
    }

    /// Everything, without any marker.
    #[must_use]
    pub fn unmark(&self) -> Vec<u8> {
        let mut edit = Edit::of(&self.document);
        for entry in &self.entries {
            entry.show(&mut edit, false);
        }
        edit.apply()
    }

    /// Only what is `tenant`'s: by its marker; where it has none, because its sandbox is among `own`; or, if `unsaid`
    /// is, without naming any.
    #[must_use]
    pub fn keep(
        &self,
        tenant: &TenantId,
        own: &HashSet<SandboxId>,
        unsaid: bool,
        show_marker: bool,
    ) -> Kept {
        let mut edit = Edit::of(&self.document);
        let (mut left_out, mut running) = (0, 0);
        for entry in &self.entries {
            let of_own = || entry.sandbox.as_ref().map(|id| own.contains(id));
            let is_own = match &entry.owner {
                Owner::Tenant(name) => name == tenant.as_str(),
                Owner::Sandbox => of_own() == Some(true),
                Owner::Unsaid => of_own().unwrap_or(unsaid),
                Owner::Unclear => false,
            };
            if is_own {
                running += usize::from(entry.is_running);
                entry.show(&mut edit, show_marker);
            } else {
                left_out += 1;
                if let Some(array) = self.document.root().as_array() {
                    edit.remove_element(&array, &entry.value);
                }
            }
        }
        Kept { json: edit.apply(), left_out, running }
    }
}

impl<'a> Entry<'a> {
    /// Takes out what callers do not see of it.
    fn show(&self, edit: &mut Edit<'a>, show_marker: bool) {
        if let Some(object) = self.value.as_object() {
            edit::listed(edit, &object, show_marker);
        }
        for holder in self.marked.iter().filter(|_| !show_marker) {
            edit::unmark(edit, holder);
        }
    }
}

/// What an entry has said so far.
#[derive(Default)]
struct Said<'a> {
    marker: Option<Cow<'a, str>>,
    sandbox: Option<Cow<'a, str>>,
    marked: Vec<Object<'a>>,
    is_unclear: bool,
}

fn entry(value: Value<'_>, listing: Listing) -> Entry<'_> {
    let mut said = Said::default();
    let mut is_running = false;
    match value.as_object() {
        Some(object) => {
            for member in object.members() {
                said.hear(&member, listing);
                is_running |=
                    member.key == "state" && member.value.as_str().as_deref() == Some("running");
            }
        }
        None => said.is_unclear = true,
    }
    let sandbox = said.sandbox.as_ref().map(|id| SandboxId::parse(id));
    let owner = match (said.is_unclear, said.marker, &sandbox) {
        (true, ..) | (_, _, Some(Err(_))) => Owner::Unclear,
        (_, Some(tenant), _) => Owner::Tenant(tenant),
        // A list of sandboxes shows their metadata: one without a marker has none, so the upstream cannot say more.
        (_, None, Some(Ok(_))) if listing != Listing::Sandboxes => Owner::Sandbox,
        (_, None, _) => Owner::Unsaid,
    };
    Entry { value, owner, sandbox: sandbox.and_then(Result::ok), is_running, marked: said.marked }
}

impl<'a> Said<'a> {
    fn hear(&mut self, member: &Member<'a>, listing: Listing) {
        if reads_as(&member.key, "metadata") {
            self.metadata(member, "metadata");
        } else if reads_as(&member.key, "sandboxid") || reads_as(&member.key, "originsandboxid") {
            match (member.value.as_str(), &self.sandbox) {
                (Some(id), Some(known)) if id == *known => {}
                (Some(id), None) => self.sandbox = Some(id),
                (_, Some(_)) | (None, None) => self.is_unclear = true,
            }
        } else if listing == Listing::Events
            && reads_as(&member.key, "eventdata")
            && let Some(data) = member.value.as_object()
        {
            for member in data.members().filter(|member| reads_as(&member.key, "sandboxmetadata")) {
                self.metadata(&member, "sandbox_metadata");
            }
        }
    }

    /// Hears out the metadata of a sandbox. Nobody looks for it under another spelling than `name`.
    fn metadata(&mut self, member: &Member<'a>, name: &str) {
        let metadata = match (member.value.kind(), member.value.as_object()) {
            (Kind::Null, _) => return,
            (_, Some(metadata)) if member.key == name && self.marked.is_empty() => metadata,
            _ => return self.is_unclear = true,
        };
        self.marked.push(metadata);
        for member in metadata.members().filter(|m| folded(&m.key).eq(MARKER.chars())) {
            match member.value.as_str() {
                Some(tenant) if member.key == MARKER && self.marker.is_none() => {
                    self.marker = Some(tenant);
                }
                _ => self.is_unclear = true,
            }
        }
    }
}

/// Whether some reader takes `key` for `plain`: in any case, with or without `_`.
fn reads_as(key: &str, plain: &str) -> bool {
    folded(key).filter(|char| *char != '_').eq(plain.chars())
}

#[cfg(test)]
mod tests;
