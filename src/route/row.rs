//! The vocabulary of the route table: what one row can say.
//!
//! Types and the `const` builder that rows are written with. What a class demands of a caller is the policy's to say,
//! what an effect or a note entails is done by the modules that edit requests and responses.

use super::Methods;
use crate::target::{ENVD_PORT, INTERPRETER_PORT};

/// Which of the gateway's interfaces a route belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Surface {
    /// The sandbox REST API of E2B, Coppice and Cube.
    Api,
    /// Answered by the gateway itself.
    Gateway,
    /// envd, sandbox port 49983.
    Envd,
    /// The code interpreter, sandbox port 49999.
    Interpreter,
    /// Any other port of a sandbox.
    Port,
    /// The template image registry.
    Registry,
}

impl Surface {
    /// Every surface, in the order in which they are listed.
    pub const ALL: [Self; 6] =
        [Self::Gateway, Self::Api, Self::Envd, Self::Interpreter, Self::Port, Self::Registry];

    /// The name in the route listing.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Gateway => "gateway",
            Self::Envd => "envd",
            Self::Interpreter => "interpreter",
            Self::Port => "port",
            Self::Registry => "registry",
        }
    }

    /// The surface behind `port` of a sandbox.
    #[must_use]
    pub const fn of_port(port: u16) -> Self {
        match port {
            ENVD_PORT => Self::Envd,
            INTERPRETER_PORT => Self::Interpreter,
            _ => Self::Port,
        }
    }

    /// Whether requests on this surface go to a port inside a sandbox.
    #[must_use]
    pub const fn is_data_plane(self) -> bool {
        match self {
            Self::Envd | Self::Interpreter | Self::Port => true,
            Self::Api | Self::Gateway | Self::Registry => false,
        }
    }

    /// The class of a path that no row lists, and except on [`Surface::Gateway`] (where that is 405) of a listed path
    /// with a method that no row lists.
    #[must_use]
    pub const fn default_class(self) -> Class {
        match self {
            Self::Api | Self::Registry => Class::Admin,
            Self::Envd | Self::Interpreter | Self::Port => Class::Exec,
            Self::Gateway => Class::Hidden,
        }
    }
}

/// What a route demands of its caller.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Class {
    /// Nothing, not even a credential.
    Public,
    /// Any valid key.
    Any,
    /// The scope read.
    Read,
    /// The scope exec.
    Exec,
    /// The scope owner.
    Owner,
    /// The scope admin.
    Admin,
    /// 404 for everyone, always.
    Hidden,
}

impl Class {
    /// Every class, from the most open to the most closed.
    pub const ALL: [Self; 7] =
        [Self::Public, Self::Any, Self::Read, Self::Exec, Self::Owner, Self::Admin, Self::Hidden];

    /// The name in listings and audit events.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Any => "any",
            Self::Read => "read",
            Self::Exec => "exec",
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Hidden => "hidden",
        }
    }
}

/// What a successful request does to its tenant's count of active sandboxes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Effect {
    /// Nothing.
    None,
    /// One more.
    PlusOne,
    /// One more, if it really starts one: a running sandbox stays one.
    PlusOneIfStarted,
    /// As many more as the body asks for.
    PlusN,
    /// One less.
    End,
}

impl Effect {
    /// The sign in listings; empty for [`Effect::None`].
    #[must_use]
    pub const fn sign(self) -> &'static str {
        match self {
            Self::None => "",
            Self::PlusOne => "+1",
            Self::PlusOneIfStarted => "+1?",
            Self::PlusN => "+n",
            Self::End => "end",
        }
    }
}

/// Where a JSON response carries the tokens of a sandbox.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Tokens {
    /// Nowhere.
    None,
    /// In its one object.
    One,
    /// In its one object, and a caller who may only read gets none.
    OneUnlessReadOnly,
    /// In each entry of its array.
    Each,
}

/// How a request's JSON body is rewritten.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BodyEdit {
    /// Not at all.
    None,
    /// It is a create payload: its metadata gets the tenant's marker.
    Create,
    /// It is a fork payload: its count is read and metadata, if any, marked.
    Fork,
    /// Create payloads are nested in it: every object that holds a `templateID` is marked.
    Nested,
}

/// What a response lists, of which a caller may see only its own tenant's part.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Listing {
    /// Sandboxes, filtered by metadata where the query asks for it.
    Sandboxes,
    /// What happened to sandboxes.
    Events,
    /// Snapshots of sandboxes.
    Snapshots,
    /// Metrics of the sandboxes that the query names.
    Metrics,
}

impl Listing {
    /// The query parameter that names sandboxes, which must belong to the caller's tenant.
    #[must_use]
    pub const fn names_sandboxes_by(self) -> Option<&'static str> {
        match self {
            Self::Metrics => Some("sandbox_ids"),
            Self::Snapshots => Some("sandboxID"),
            Self::Sandboxes | Self::Events => None,
        }
    }
}

/// Small facts about a route.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Notes(u16);

impl Notes {
    /// The first placeholder of the pattern is a sandbox id, which must belong to the caller's tenant.
    pub const OWN: Self = Self(1);
    /// The query's `sandbox_ids` name sandboxes, of which only the caller's tenant's count.
    pub const OWN_QUERY: Self = Self(1 << 1);
    /// The response is filtered to the caller's tenant.
    pub const LIST: Self = Self(1 << 2);
    /// Also found under [`Route::CUBE_PREFIX`].
    pub const CUBE: Self = Self(1 << 3);
    /// Meant to be upgraded to a WebSocket.
    pub const WEBSOCKET: Self = Self(1 << 4);
    /// A placeholder is a template's name, which may hold `%2F` inside its segment.
    pub const TEMPLATE: Self = Self(1 << 5);
    /// A valid `signature` in the query is as good as a credential.
    pub const SIGNED: Self = Self(1 << 6);
    /// Its Bearer belongs to the upstream; a gateway credential comes as `X-API-Key`.
    pub const FOREIGN_BEARER: Self = Self(1 << 7);
    /// A placeholder is a secret: never show the path.
    pub const SECRET_PATH: Self = Self(1 << 8);

    const NONE: Self = Self(0);
    const NAMES: [(Self, &'static str); 9] = [
        (Self::OWN, "own"),
        (Self::OWN_QUERY, "own-query"),
        (Self::LIST, "list"),
        (Self::CUBE, "cube"),
        (Self::WEBSOCKET, "websocket"),
        (Self::TEMPLATE, "template"),
        (Self::SIGNED, "signed"),
        (Self::FOREIGN_BEARER, "foreign-bearer"),
        (Self::SECRET_PATH, "secret-path"),
    ];

    /// Whether all of `others` are among the notes.
    #[must_use]
    pub const fn has(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// One row of the route table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Route {
    /// The interface it belongs to.
    pub surface: Surface,
    /// The methods it lists.
    pub methods: Methods,
    /// Fixed segments, placeholders (`{id}`) for one segment each, and perhaps a final `*` for all that remains.
    pub pattern: &'static str,
    /// What it demands.
    pub class: Class,
    /// What it does to the count of active sandboxes.
    pub effect: Effect,
    /// Where its response carries sandbox tokens.
    pub tokens: Tokens,
    /// How its body is rewritten.
    pub body: BodyEdit,
    /// What its response lists, if that is filtered to the caller's tenant.
    pub listing: Option<Listing>,
    /// The rest.
    pub notes: Notes,
}

impl Route {
    /// Where Cube serves the same API a second time.
    pub const CUBE_PREFIX: &'static str = "/cubeapi/v1";

    /// The notes of the row as words, for listings.
    pub fn words(&self) -> impl Iterator<Item = &'static str> {
        let tokens = match self.tokens {
            Tokens::None => None,
            Tokens::One => Some("token"),
            Tokens::OneUnlessReadOnly => Some("token-unless-read"),
            Tokens::Each => Some("token-each"),
        };
        let body = match self.body {
            BodyEdit::None => None,
            BodyEdit::Create => Some("body-create"),
            BodyEdit::Fork => Some("body-fork"),
            BodyEdit::Nested => Some("body-nested"),
        };
        let notes = self.notes;
        let named = Notes::NAMES.into_iter().filter(move |(note, _)| notes.has(*note));
        tokens.into_iter().chain(body).chain(named.map(|(_, name)| name))
    }

    pub(super) const fn new(
        surface: Surface,
        methods: Methods,
        pattern: &'static str,
        class: Class,
    ) -> Self {
        Self {
            surface,
            methods,
            pattern,
            class,
            effect: Effect::None,
            tokens: Tokens::None,
            body: BodyEdit::None,
            listing: None,
            notes: Notes::NONE,
        }
    }

    pub(super) const fn effect(self, effect: Effect) -> Self {
        Self { effect, ..self }
    }

    pub(super) const fn tokens(self, tokens: Tokens) -> Self {
        Self { tokens, ..self }
    }

    pub(super) const fn body(self, body: BodyEdit) -> Self {
        Self { body, ..self }
    }

    pub(super) const fn note(self, note: Notes) -> Self {
        Self { notes: self.notes.and(note), ..self }
    }

    pub(super) const fn own(self) -> Self {
        self.note(Notes::OWN)
    }

    pub(super) const fn list(self, listing: Listing) -> Self {
        let listed = Self { listing: Some(listing), ..self };
        match listing {
            Listing::Metrics => listed.note(Notes::OWN_QUERY),
            Listing::Sandboxes | Listing::Events | Listing::Snapshots => listed.note(Notes::LIST),
        }
    }

    pub(super) const fn cube(self) -> Self {
        self.note(Notes::CUBE)
    }

    pub(super) const fn template(self) -> Self {
        self.note(Notes::TEMPLATE)
    }
}
