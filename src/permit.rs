//! The permit: proof, as a value, that one request may go on, and where to.
//!
//! A permit has private fields and comes only from here: first [`clear`] judges scope against class, then the cleared
//! request says where it goes and, if that is a sandbox, shows whose it is. The forwarder and the gateway's own router
//! take a [`Permitted`] and nothing else, so a route that nobody authorised cannot be mounted. Pure: no I/O.
//!
//! ```compile_fail
//! # use coppice_gateway::permit::Permit;
//! // Nobody else can write one, not even out of another.
//! fn forged(permit: Permit) -> Permit {
//!     Permit { ..permit }
//! }
//! ```

use std::sync::Arc;

use http::Request;

use crate::caller::Caller;
use crate::policy::{Requirement, Verdict};
use crate::principal::Scope;
use crate::request::Conn;
use crate::route::{Class, Match, Notes, Route, Surface};
use crate::sandbox::Sandbox;
use crate::target::{SandboxId, Target};

/// A request and the permit that covers it.
#[derive(Debug)]
pub struct Permitted<B> {
    /// What was decided.
    pub permit: Permit,
    /// The request, as it came.
    pub request: Box<Request<B>>,
    /// Its connection.
    pub conn: Arc<Conn>,
}

/// One decision about one request.
#[derive(Debug)]
pub struct Permit {
    cleared: Cleared,
    plan: Plan,
}

/// Where a permitted request goes.
#[derive(Debug)]
pub enum Plan {
    /// To the gateway's own router.
    Own,
    /// To the sandbox API.
    Control(Control),
    /// Into a sandbox.
    Data(Data),
}

/// A permitted control-plane request.
#[derive(Debug)]
pub struct Control {
    /// The sandbox that the path names, the caller's own. `None` where it names none, or nobody asked.
    pub sandbox: Option<Arc<Sandbox>>,
    /// The id in the path as it was sent, whoever's it is.
    pub named: Option<SandboxId>,
    /// Those sandboxes that the query of a listing names and that are the caller's own. `None` where it names none, or
    /// nobody asked.
    pub selected: Option<Vec<Arc<Sandbox>>>,
    /// `Authorization` is not for the gateway and passes.
    pub foreign_authorization: bool,
}

/// A permitted data-plane request.
#[derive(Debug)]
pub struct Data {
    /// The one target that was authorised.
    pub target: Target,
    /// Its record, with the upstream's own tokens. `None` in open mode, where nobody asks.
    pub sandbox: Option<Arc<Sandbox>>,
    /// What passes beside the decision.
    pub passing: Passing,
    /// The query to send instead of the client's, once a signature was taken out of it.
    pub query: Option<String>,
}

/// Credential-like headers that belong to the application in the sandbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passing {
    /// `Authorization`.
    pub authorization: bool,
    /// `X-Access-Token`.
    pub access_token: bool,
}

/// Which other protocol a request asks its connection to become (RFC 9110 7.8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Upgrade {
    /// None.
    #[default]
    None,
    /// A WebSocket, which is tunnelled.
    WebSocket,
    /// Another protocol, which is tunnelled into sandboxes only.
    Protocol,
    /// Something that is not tunnelled. Whoever asks for it is no mere reader all the same.
    Other,
}

/// Whether tenants are kept apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// They see and touch only their own sandboxes.
    #[default]
    On,
    /// They are labelled, and that is all: every key sees every sandbox, as far as its scopes go.
    Off,
}

/// Why a request may not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// The caller lacks this scope.
    MissingScope(Scope),
    /// The route is there for nobody.
    Hidden,
    /// The sandbox is somebody else's, or nobody's.
    NotTheirs,
}

/// A request whose caller has the scope for it.
#[derive(Debug)]
pub struct Cleared {
    caller: Caller,
    route: Option<&'static Route>,
    surface: Surface,
    class: Class,
    tunnels: bool,
    isolation: Isolation,
}

/// Judges a caller's scopes against what a request's class and upgrade demand.
///
/// # Errors
/// [`Denial::MissingScope`] or [`Denial::Hidden`].
pub fn clear(
    caller: Caller,
    matched: &Match<'_>,
    upgrade: Upgrade,
    isolation: Isolation,
) -> Result<Cleared, Denial> {
    let on_control = !matched.surface.is_data_plane();
    let requirement = Requirement::of(matched.class, upgrade != Upgrade::None && on_control);
    let tunnels = match upgrade {
        Upgrade::WebSocket => true,
        Upgrade::Protocol => !on_control,
        Upgrade::None | Upgrade::Other => false,
    };
    match requirement.verdict(caller.scopes()) {
        Verdict::Public | Verdict::Allowed => Ok(Cleared {
            caller,
            route: matched.route(),
            surface: matched.surface,
            class: matched.class,
            tunnels,
            isolation,
        }),
        Verdict::MissingScope(scope) => Err(Denial::MissingScope(scope)),
        Verdict::Hidden => Err(Denial::Hidden),
    }
}

impl Cleared {
    /// Whether the sandbox in the path must be shown to be the caller's before [`Self::control`] gives a permit.
    #[must_use]
    pub fn needs_standing(&self) -> bool {
        let names_sandbox = self.route.is_none_or(|route| route.notes.has(Notes::OWN));
        names_sandbox && !self.sees_all_tenants()
    }

    /// The query parameter that names sandboxes, if only the caller's own among them may be passed on.
    #[must_use]
    pub fn selects_by(&self) -> Option<&'static str> {
        let listing = self.route.and_then(|route| route.listing)?;
        listing.names_sandboxes_by().filter(|_| !self.sees_all_tenants())
    }

    /// Whether the sandbox is the caller's.
    #[must_use]
    pub fn owns(&self, sandbox: &Sandbox) -> bool {
        owns(&self.caller, self.isolation, sandbox)
    }

    fn sees_all_tenants(&self) -> bool {
        sees_all_tenants(&self.caller, self.isolation)
    }

    /// Permits it to the gateway's own router.
    #[must_use]
    pub fn own(self) -> Permit {
        Permit { cleared: self, plan: Plan::Own }
    }

    /// Permits it to the sandbox API.
    ///
    /// # Errors
    /// [`Denial::NotTheirs`] when the route is about a sandbox that was not shown to be the caller's.
    pub fn control(self, control: Control) -> Result<Permit, Denial> {
        let stands = match &control.sandbox {
            Some(sandbox) => self.owns(sandbox),
            None => !self.needs_standing(),
        };
        let mut selected = control.selected.iter().flatten();
        if stands && selected.all(|sandbox| self.owns(sandbox)) {
            Ok(Permit { cleared: self, plan: Plan::Control(control) })
        } else {
            Err(Denial::NotTheirs)
        }
    }

    /// Permits it into a sandbox.
    ///
    /// # Errors
    /// [`Denial::NotTheirs`] when the sandbox is not the caller's, or its record is of another one.
    pub fn data(self, data: Data) -> Result<Permit, Denial> {
        let stands = match &data.sandbox {
            Some(sandbox) => sandbox.id == data.target.sandbox && self.owns(sandbox),
            None => matches!(self.caller, Caller::Open),
        };
        if stands {
            Ok(Permit { cleared: self, plan: Plan::Data(data) })
        } else {
            Err(Denial::NotTheirs)
        }
    }
}

/// Whose sandbox it is. A token or signature is good for its own sandbox alone, and never against whose that is now:
/// minted by an admin whose key has lost that scope, it opens no sandbox of nobody.
fn owns(caller: &Caller, isolation: Isolation, sandbox: &Sandbox) -> bool {
    let has_standing =
        |tenant| sees_all_tenants(caller, isolation) || sandbox.tenant.as_ref() == Some(tenant);
    match caller {
        Caller::Open => true,
        Caller::Anonymous => false,
        Caller::Key(principal, _) => has_standing(&principal.tenant),
        Caller::Token(principal, id) | Caller::Signature(principal, id) => {
            *id == sandbox.id && has_standing(&principal.tenant)
        }
    }
}

fn sees_all_tenants(caller: &Caller, isolation: Isolation) -> bool {
    caller.sees_all_tenants()
        || (isolation == Isolation::Off && !matches!(caller, Caller::Anonymous))
}

impl Permit {
    /// Who calls.
    #[must_use]
    pub const fn caller(&self) -> &Caller {
        &self.cleared.caller
    }

    /// Whether lists show the caller every tenant's sandboxes.
    #[must_use]
    pub fn sees_all_tenants(&self) -> bool {
        self.cleared.sees_all_tenants()
    }

    /// The row of the route table that matched; `None` for what no row lists.
    #[must_use]
    pub const fn route(&self) -> Option<&'static Route> {
        self.cleared.route
    }

    /// The surface that answers.
    #[must_use]
    pub const fn surface(&self) -> Surface {
        self.cleared.surface
    }

    /// The class that was demanded and met.
    #[must_use]
    pub const fn class(&self) -> Class {
        self.cleared.class
    }

    /// Whether the connection becomes a tunnel if the upstream switches to what the client asks for.
    #[must_use]
    pub const fn tunnels(&self) -> bool {
        self.cleared.tunnels
    }

    /// The sandbox that the request is about.
    #[must_use]
    pub fn sandbox(&self) -> Option<&SandboxId> {
        match &self.plan {
            Plan::Own => None,
            Plan::Control(control) => {
                control.sandbox.as_ref().map(|sandbox| &sandbox.id).or(control.named.as_ref())
            }
            Plan::Data(data) => Some(&data.target.sandbox),
        }
    }

    /// Where the request goes.
    #[must_use]
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }
}
