//! `explain METHOD PATH`: which rule decides a request, without a running daemon.
//!
//! Takes the same steps as a request, up to the point where the upstream would have to be asked: ownership is named,
//! not judged. Pure; the exit status is 0 for [`Explanation::is_allowed`], else 1.

mod command;

use std::fmt;

use http::{HeaderMap, Method};
use serde::Serialize;

use crate::policy::{Requirement, Verdict};
use crate::principal::{Scope, Scopes, TenantId};
use crate::route::target::{Aim, SandboxToken};
use crate::route::{
    Authority, BadTarget, CanonicalPath, Class, Domain, Listener, Match, Notes, Plane, PortLabel,
    Router, Rule,
};
use crate::target::Target;

pub(super) use command::run;

/// A request that might be made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'a> {
    /// Its method.
    pub(super) method: &'a Method,
    /// Its path; a query is allowed and ignored, as it decides nothing.
    pub(super) path: &'a str,
    /// Its `Host`; without one, some name of the control plane.
    pub(super) host: Option<&'a str>,
    /// Where it arrives.
    pub(super) listener: Listener,
    /// The domain of the sandboxes, as configured.
    pub(super) domain: Option<&'a Domain>,
    /// Who makes it.
    pub(super) caller: Caller<'a>,
}

/// Who makes a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Caller<'a> {
    /// Somebody without a credential.
    Nobody,
    /// Anybody, at a gateway without authenticators.
    Open,
    /// The holder of a valid key.
    Key {
        /// Whose key it is, where that is known.
        tenant: Option<&'a TenantId>,
        /// What it may do.
        scopes: Scopes,
    },
}

/// Which rule decides, and how.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(super) struct Explanation {
    /// The method asked about.
    pub(super) method: String,
    /// The path asked about, without its query.
    pub(super) path: String,
    /// The surface that answers; none if the request is refused before that is decided.
    pub(super) surface: Option<&'static str>,
    /// The sandbox it is for, as the request names it.
    pub(super) sandbox: Option<String>,
    /// The sandbox port it is for.
    pub(super) port: Option<u16>,
    /// The row of the route table, or why there is none.
    pub(super) rule: Option<String>,
    /// The class of the route.
    pub(super) class: Option<&'static str>,
    /// The scope that the class demands.
    pub(super) scope: Option<&'static str>,
    /// `allowed` or `refused`.
    pub(super) verdict: &'static str,
    /// The status of the refusal.
    pub(super) status: Option<u16>,
    /// The reason, as a sentence.
    pub(super) why: String,
}

impl Explanation {
    /// Whether the gateway would forward or answer the request.
    #[must_use]
    pub(super) fn is_allowed(&self) -> bool {
        self.status.is_none()
    }

    /// One JSON object.
    #[must_use]
    pub(super) fn render_json(&self) -> String {
        format!("{}\n", serde_json::json!(self))
    }
}

impl fmt::Display for Explanation {
    /// One fact a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {}", self.method, self.path)?;
        let port = self.port.map(|port| port.to_string());
        let verdict = match self.status {
            Some(status) => format!("{}, {status}", self.verdict),
            None => self.verdict.to_owned(),
        };
        for (name, value) in [
            ("surface", self.surface),
            ("sandbox", self.sandbox.as_deref()),
            ("port", port.as_deref()),
            ("rule", self.rule.as_deref()),
            ("class", self.class),
            ("scope", self.scope),
            ("verdict", Some(&verdict)),
            ("why", Some(&self.why)),
        ] {
            if let Some(value) = value {
                writeln!(f, "  {name:<8} {value}")?;
            }
        }
        Ok(())
    }
}

/// Where a request goes: the control plane, or a port of a sandbox that it may leave unnamed.
enum Place {
    Control,
    Port { sandbox: Option<String>, port: u16 },
}

/// Why a request is refused before it has a class.
struct Refusal {
    status: u16,
    why: String,
}

impl Refusal {
    fn bad_request(why: impl fmt::Display) -> Self {
        Self { status: 400, why: why.to_string() }
    }
}

/// Answers a question.
#[must_use]
pub(super) fn explain(router: &Router, question: &Question<'_>) -> Explanation {
    let path = question.path.split_once('?').map_or(question.path, |(path, _)| path);
    let mut explanation = Explanation {
        method: question.method.to_string(),
        path: path.to_owned(),
        surface: None,
        sandbox: None,
        port: None,
        rule: None,
        class: None,
        scope: None,
        verdict: "allowed",
        status: None,
        why: String::new(),
    };
    let outcome = place(router, question, path).and_then(|place| {
        let found = find(router, question.method, path, &place)?;
        Ok((place, found))
    });
    let (status, why) = match outcome {
        Err(refusal) => (Some(refusal.status), refusal.why),
        Ok((place, found)) => {
            explanation.surface = Some(found.surface.name());
            explanation.sandbox = found.sandbox.map(str::to_owned);
            if let Place::Port { sandbox, port } = place {
                explanation.sandbox = sandbox;
                explanation.port = Some(port);
            }
            explanation.rule = Some(rule(&found));
            explanation.class = Some(found.class.name());
            explanation.scope = needed(found.class).map(Scope::name);
            judge(&found, question.caller)
        }
    };
    if status.is_some() {
        explanation.verdict = "refused";
    }
    Explanation { status, why, ..explanation }
}

fn place(router: &Router, question: &Question<'_>, path: &str) -> Result<Place, Refusal> {
    if matches!(*question.method, Method::TRACE | Method::CONNECT) {
        let why = format!("{} is accepted nowhere", question.method);
        return Err(Refusal { status: 405, why });
    }
    let host = match question.host {
        None => crate::route::HostKind::Other,
        Some(host) => Authority::parse(host)
            .and_then(|host| host.classify(question.domain))
            .map_err(Refusal::bad_request)?,
    };
    let headers = HeaderMap::new();
    let (listener, token) = (question.listener, SandboxToken::Absent);
    let aim = Aim { listener, host: &host, headers: &headers, token };
    let listed = || CanonicalPath::parse(path).ok().and_then(|path| router.listed_port(&path));
    match (aim.resolve(listed), listener) {
        (Ok(Plane::Control), _) => Ok(Place::Control),
        (Ok(Plane::Data(Target { sandbox, port })), _) => {
            Ok(Place::Port { sandbox: Some(sandbox.to_string()), port })
        }
        // A header or a token would name the sandbox; which one does not matter here.
        (Err(BadTarget::NoSandbox), Listener::Data(PortLabel::Port(port))) => {
            Ok(Place::Port { sandbox: None, port })
        }
        (Err(why), _) => Err(Refusal::bad_request(why)),
    }
}

fn find<'p>(
    router: &Router,
    method: &Method,
    path: &'p str,
    place: &Place,
) -> Result<Match<'p>, Refusal> {
    match place {
        Place::Control => {
            CanonicalPath::parse(path).and_then(|path| router.find_control(method, &path))
        }
        Place::Port { port, .. } => router.find_data(*port, method, path),
    }
    .map_err(Refusal::bad_request)
}

fn rule(found: &Match<'_>) -> String {
    match found.rule {
        Rule::Row(row) => format!("{} {}", row.methods, row.pattern),
        Rule::OtherMethod => "the path is listed, but not with this method".to_owned(),
        Rule::Unlisted => "the path is not listed".to_owned(),
    }
}

fn needed(class: Class) -> Option<Scope> {
    match Requirement::of(class, false) {
        Requirement::Scope(scope) => Some(scope),
        Requirement::Nothing | Requirement::AnyKey | Requirement::Impossible => None,
    }
}

/// The status of the refusal, if it is one, and the reason.
fn judge(found: &Match<'_>, caller: Caller<'_>) -> (Option<u16>, String) {
    let requirement = Requirement::of(found.class, false);
    let refused = |status, why: String| (Some(status), why);
    let (tenant, scopes) = match caller {
        Caller::Nobody if requirement == Requirement::Nothing => (None, Scopes::default()),
        Caller::Nobody => return refused(401, "a credential is needed".to_owned()),
        Caller::Open => (None, Scopes::ALL),
        Caller::Key { tenant, scopes } => (tenant, scopes),
    };
    if let Some(allow) = found.method_not_allowed {
        let allow = allow.names().collect::<Vec<_>>().join(", ");
        return refused(405, format!("the method must be one of {allow}"));
    }
    match requirement.verdict(scopes) {
        Verdict::Hidden => refused(404, "the gateway shows this route to nobody".to_owned()),
        Verdict::MissingScope(scope) => {
            refused(403, format!("API key lacks required scope: {}", scope.name()))
        }
        Verdict::Public => (None, "the route is public".to_owned()),
        Verdict::Allowed => {
            let base = match (caller, needed(found.class)) {
                (Caller::Open, _) => "no authenticator is configured".to_owned(),
                (_, None) => "any valid key will do".to_owned(),
                (_, Some(scope)) => format!("the key has the scope {}", scope.name()),
            };
            let about_a_sandbox = found.surface.is_data_plane() || found.has(Notes::OWN);
            let is_list = found.has(Notes::LIST) || found.has(Notes::OWN_QUERY);
            if !(about_a_sandbox || is_list) || scopes.allows(Scope::Admin) {
                return (None, base);
            }
            let owner = tenant.map_or("the caller's tenant".to_owned(), |t| format!("tenant {t}"));
            let rest = if is_list {
                format!("what does not belong to {owner} is left out")
            } else {
                format!("the sandbox must belong to {owner}, else 404")
            };
            (None, format!("{base}; {rest}"))
        }
    }
}

#[cfg(test)]
mod tests;
