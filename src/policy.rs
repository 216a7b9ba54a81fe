//! What each class of route demands, and whether a set of scopes meets it.
//!
//! Pure and total: every class is written out, so that a new one does not compile until it is decided here. Whose
//! sandbox a request is for is not asked here.

use crate::principal::{Scope, Scopes};
use crate::route::Class;

/// What a request demands of its caller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Requirement {
    /// Nothing, not even a credential.
    Nothing,
    /// Any valid key.
    AnyKey,
    /// This scope, or one that implies it.
    Scope(Scope),
    /// What nobody has: the answer is 404.
    Impossible,
}

/// What the scopes of a caller come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Open to everyone; the caller's scopes were not looked at.
    Public,
    /// The scopes suffice.
    Allowed,
    /// This scope is lacking: 403.
    MissingScope(Scope),
    /// Not there, for anyone: 404.
    Hidden,
}

impl Requirement {
    /// What a route of `class` demands. `upgrade` says that the request asks for another protocol on the control plane:
    /// a WebSocket is a terminal or an editor there, so that takes exec at least, public routes included.
    #[must_use]
    pub const fn of(class: Class, upgrade: bool) -> Self {
        match class {
            Class::Public | Class::Any | Class::Read if upgrade => Self::Scope(Scope::Exec),
            Class::Public => Self::Nothing,
            Class::Any => Self::AnyKey,
            Class::Read => Self::Scope(Scope::Read),
            Class::Exec => Self::Scope(Scope::Exec),
            Class::Owner => Self::Scope(Scope::Owner),
            Class::Admin => Self::Scope(Scope::Admin),
            Class::Hidden => Self::Impossible,
        }
    }

    /// Compares it with the scopes of an authenticated caller.
    #[must_use]
    pub const fn verdict(self, scopes: Scopes) -> Verdict {
        match self {
            Self::Nothing => Verdict::Public,
            Self::AnyKey => Verdict::Allowed,
            Self::Scope(needed) if scopes.allows(needed) => Verdict::Allowed,
            Self::Scope(needed) => Verdict::MissingScope(needed),
            Self::Impossible => Verdict::Hidden,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_scope_opens_its_class_and_those_below() {
        let scopes = [Scope::Read, Scope::Exec, Scope::Owner, Scope::Admin];
        for (class, opened_by) in [
            (Class::Public, 0),
            (Class::Any, 0),
            (Class::Read, 0),
            (Class::Exec, 1),
            (Class::Owner, 2),
            (Class::Admin, 3),
            (Class::Hidden, 4),
        ] {
            for (rank, scope) in scopes.into_iter().enumerate() {
                let verdict = Requirement::of(class, false).verdict(Scopes::default().with(scope));
                let opened = matches!(verdict, Verdict::Public | Verdict::Allowed);
                assert_eq!(opened, rank >= opened_by, "{class:?} {scope:?} {verdict:?}");
            }
        }
    }

    #[test]
    fn an_upgrade_takes_exec_at_least() {
        let read = Scopes::default().with(Scope::Read);
        let exec = Scopes::default().with(Scope::Exec);
        for (class, for_read, for_exec) in [
            (Class::Public, Verdict::MissingScope(Scope::Exec), Verdict::Allowed),
            (Class::Any, Verdict::MissingScope(Scope::Exec), Verdict::Allowed),
            (Class::Read, Verdict::MissingScope(Scope::Exec), Verdict::Allowed),
            (Class::Exec, Verdict::MissingScope(Scope::Exec), Verdict::Allowed),
            (
                Class::Owner,
                Verdict::MissingScope(Scope::Owner),
                Verdict::MissingScope(Scope::Owner),
            ),
            (
                Class::Admin,
                Verdict::MissingScope(Scope::Admin),
                Verdict::MissingScope(Scope::Admin),
            ),
            (Class::Hidden, Verdict::Hidden, Verdict::Hidden),
        ] {
            let requirement = Requirement::of(class, true);
            assert_eq!(requirement.verdict(read), for_read, "{class:?}");
            assert_eq!(requirement.verdict(exec), for_exec, "{class:?}");
        }
    }

    #[test]
    fn no_scope_opens_nothing_but_any() {
        for class in [Class::Read, Class::Exec, Class::Owner, Class::Admin] {
            let verdict = Requirement::of(class, false).verdict(Scopes::default());
            assert!(matches!(verdict, Verdict::MissingScope(_)), "{class:?}");
        }
    }
}
