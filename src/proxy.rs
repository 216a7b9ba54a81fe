//! The forwarder: takes what was permitted to the upstream and streams the answer back.
//!
//! It obeys and decides nothing: every entry takes a [`Permit`](crate::permit::Permit), which only the policy can make.
//! It knows no keys and no settings file; what it needs to know of the upstream is in [`Upstreams`].

pub mod admission;
pub mod body;
pub mod census;
pub mod control;
pub mod data;
pub mod edit;
pub mod exchange;
pub mod headers;
pub mod inbound;
mod lease;
pub mod list;
pub mod lookup;
pub mod pool;
mod timeouts;
pub mod tunnel;
pub mod usage;
pub mod v1;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http::uri::PathAndQuery;
use http::{HeaderValue, Response, Uri};

use self::body::Reply;
use crate::authn::Authenticator;
use crate::caller::Caller;
use crate::directory::Directory;
use crate::error::GatewayError;
use crate::http1::Address;
use crate::record::Pending;
use admission::Admissions;
use edit::Reserved;
use pool::Pool;
pub use timeouts::Timeouts;
use tunnel::Tunnels;
use usage::Usages;
use v1::Dialects;

/// One upstream's address, and what requests there are built from.
#[derive(Clone, Debug)]
pub struct Upstream {
    address: Address,
    host: HeaderValue,
    /// What precedes every path; empty or starting with `/` and not ending in one.
    prefix: Box<str>,
}

impl Upstream {
    /// An upstream at `address`, where every path begins with `prefix`.
    #[must_use]
    pub fn new(address: Address, prefix: &str) -> Self {
        let host = HeaderValue::from_str(address.authority().as_str())
            .unwrap_or_else(|_| HeaderValue::from_static("upstream"));
        Self { address, host, prefix: prefix.trim_end_matches('/').into() }
    }

    /// `path_and_query` as it is called there; nothing is parsed again unless there is a prefix.
    ///
    /// # Errors
    /// [`GatewayError::Internal`], which cannot happen for a path that was parsed before.
    pub fn uri(&self, path_and_query: PathAndQuery) -> Result<Uri, GatewayError> {
        let path_and_query = if self.prefix.is_empty() {
            path_and_query
        } else {
            let joined = format!("{}{path_and_query}", self.prefix);
            PathAndQuery::from_maybe_shared(bytes::Bytes::from(joined))
                .map_err(|_| GatewayError::Internal)?
        };
        Ok(Uri::from(path_and_query))
    }
}

/// Where everything is, and how long it may take.
#[derive(Debug)]
pub struct Upstreams {
    /// The sandbox API.
    pub control: Upstream,
    /// The key that the gateway itself shows there, instead of the client's.
    pub key: Option<HeaderValue>,
    /// Sandbox ports with an upstream of their own.
    pub ports: Vec<(u16, Upstream)>,
    /// Every other port.
    pub any_port: Option<Upstream>,
    /// The domain in the `Host` that sandboxes are addressed by.
    pub domain: Box<str>,
    /// How long they may take.
    pub timeouts: Timeouts,
    /// What tenants may put into metadata, and see of it.
    pub marking: Marking,
    /// Which generation of the API the control plane speaks, once known.
    pub dialects: Dialects,
}

/// What tenants may put into metadata, and see of it.
#[derive(Clone, Debug, Default)]
pub struct Marking {
    /// What no caller may set, beside the marker.
    pub reserved: Reserved,
    /// Who sees the marker.
    pub shown: Shown,
}

/// Who sees the marker in answers about one sandbox or its forks, and in lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shown {
    /// Admins, so that everybody else gets back the metadata they sent.
    #[default]
    ToAdmins,
    /// Everybody.
    ToAll,
    /// Nobody.
    ToNobody,
}

impl Shown {
    /// Whether `caller` sees it.
    #[must_use]
    pub fn to(self, caller: &Caller) -> bool {
        match self {
            Self::ToAdmins => caller.sees_all_tenants(),
            Self::ToAll => true,
            Self::ToNobody => false,
        }
    }
}

impl Upstreams {
    /// The upstream of a sandbox port.
    #[must_use]
    pub fn of_port(&self, port: u16) -> Option<&Upstream> {
        let own = self.ports.iter().find(|(own, _)| *own == port).map(|(_, upstream)| upstream);
        own.or(self.any_port.as_ref())
    }
}

/// What came of a permitted request, with the account of it, which ends with the answer's body at the earliest.
#[derive(Debug)]
pub struct Returned {
    /// The answer.
    pub result: Result<Response<Reply>, GatewayError>,
    /// The account.
    pub pending: Pending,
}

/// A request on its way to its answer.
pub type Returning = Pin<Box<dyn Future<Output = Returned> + Send>>;

/// One worker's forwarder. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Forwarder {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    pool: Pool,
    upstreams: Arc<Upstreams>,
    /// Mints the tokens that go into answers.
    authenticator: Arc<Authenticator>,
    directory: Directory,
    admissions: Arc<Admissions>,
    tunnels: Tunnels,
    proofs: list::Proofs,
}

impl Forwarder {
    /// A forwarder of this worker's `pool`.
    #[must_use]
    pub fn new(
        pool: Pool,
        upstreams: Arc<Upstreams>,
        authenticator: Arc<Authenticator>,
        directory: Directory,
        admissions: Arc<Admissions>,
        tunnels: Tunnels,
    ) -> Self {
        let proofs = list::Proofs::default();
        let inner =
            Inner { pool, upstreams, authenticator, directory, admissions, tunnels, proofs };
        Self { inner: Arc::new(inner) }
    }

    /// How this worker asks the upstream about a sandbox.
    #[must_use]
    pub fn asker(&self) -> lookup::Asker {
        lookup::Asker::new(self.inner.pool.clone(), Arc::clone(&self.inner.upstreams))
    }

    /// How this worker finds out what tenants use.
    #[must_use]
    pub fn usages(&self) -> Usages {
        Usages::new(Arc::clone(&self.inner.admissions), self.asker())
    }
}
