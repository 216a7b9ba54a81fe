//! Which settings were given which values, so that a reload can tell what has changed without understanding any of it.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::table::{SETTINGS, Setting};
use super::value::Raw;

/// The settings that were given. Of their values only digests are kept, as some are secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Given(BTreeMap<&'static str, u64>);

impl Given {
    /// Notes a setting's value.
    pub(super) fn note(&mut self, setting: &'static Setting, value: &Raw) {
        let mut hasher = DefaultHasher::new();
        match value.items() {
            Ok(items) => items.hash(&mut hasher),
            Err(_) => value.text().hash(&mut hasher),
        }
        self.0.insert(setting.key, hasher.finish());
    }

    /// Whether a setting has another value than it had, or came, or went.
    #[must_use]
    pub fn differs(&self, before: &Self, setting: &Setting) -> bool {
        self.0.get(setting.key) != before.0.get(setting.key)
    }

    /// The keys of the settings that have changed although only a restart brings a change into force.
    #[must_use]
    pub fn waiting(&self, before: &Self) -> Vec<&'static str> {
        let changed = SETTINGS.iter().filter(|setting| !setting.reload);
        changed.filter(|setting| self.differs(before, setting)).map(|setting| setting.key).collect()
    }
}

impl fmt::Debug for Given {
    /// Keys only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::table;

    #[test]
    fn what_comes_goes_or_changes_is_named_if_it_has_to_wait() {
        let given = |pairs: &[(&'static Setting, &str)]| {
            let mut given = Given::default();
            for (setting, value) in pairs {
                given.note(setting, &Raw::Text((*value).to_owned()));
            }
            given
        };
        let before = given(&[(table::LISTEN, "127.0.0.1:1"), (table::DRAIN_TIMEOUT, "1s")]);
        assert!(before.waiting(&before).is_empty());
        let after = given(&[(table::LISTEN, "127.0.0.1:2"), (table::DRAIN_TIMEOUT, "2s")]);
        assert_eq!(after.waiting(&before), ["server.listen"]);
        assert!(after.differs(&before, table::DRAIN_TIMEOUT));
        let gone = given(&[(table::WORKERS, "2")]);
        assert_eq!(gone.waiting(&before), ["server.listen", "server.workers"]);
        let array = Raw::Items(vec!["127.0.0.1:1".to_owned()]);
        let mut same = before.clone();
        same.note(table::LISTEN, &array);
        assert_eq!(same, before, "however a list is written");
        assert!(!format!("{after:?}").contains("127"));
    }
}
