//! What a request is for, decided from its method, path and host alone.
//!
//! The route table ([`table`]) is data and the only list of routes; [`matcher`] looks requests up in it, [`path`] and
//! [`authority`] say which paths and hosts are unambiguous enough to be looked up at all, and [`target`] picks the one
//! sandbox port a data-plane request is for. Nothing here knows a credential, does I/O or changes a request.

pub mod authority;
pub mod matcher;
pub mod methods;
pub mod path;
pub mod row;
pub mod table;
pub mod target;

pub use authority::{Authority, BadAuthority, Domain, HostKind};
pub use matcher::{Match, Router, Rule};
pub use methods::Methods;
pub use path::{BadPath, CanonicalPath};
pub use row::{BodyEdit, Class, Effect, Listing, Notes, Route, Surface, Tokens};
pub use target::{BadTarget, Listener, Plane, PortLabel};
