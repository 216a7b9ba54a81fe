//! `explain METHOD PATH`: which rule decides a request, without a running daemon.
//!
//! Takes the same steps as a request, up to the point where the upstream would have to be asked: ownership is named,
//! not judged. Pure; the exit status is 0 for [`Explanation::is_allowed`], else 1.

mod command;
mod quota;

use std::fmt;

use http::{HeaderMap, Method};
use serde::Serialize;

use crate::callback::CallbackUrl;
use crate::policy::{Requirement, Verdict};
use crate::principal::{Scope, Scopes, TenantId};
use crate::route::target::{Aim, SandboxToken};
use crate::route::{
    Authority, BadTarget, CanonicalPath, Class, Domain, Effect, Listener, Match, Notes, Plane,
    PortLabel, Router, Rule,
};
use crate::target::Target;

use quota::Tenancy;

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
    /// What is set about tenants.
    pub(super) tenancy: Tenancy<'a>,
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
    /// The holder of a credential that no key knows: the auth callback would be asked who that is.
    Unknown(&'a CallbackUrl),
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
    /// What success does to the count of active sandboxes, as `routes` shows it.
    pub(super) effect: Option<&'static str>,
    /// What that means, and the limit that it meets; none if the request is refused.
    pub(super) quota: Option<String>,
    /// The auth callback that would be asked who the caller is, without its query; none if it would not be.
    pub(super) callback: Option<String>,
    /// `allowed`, `refused`, or `undecided` where that depends on the auth callback.
    pub(super) verdict: &'static str,
    /// The status of the refusal.
    pub(super) status: Option<u16>,
    /// The reason, as a sentence.
    pub(super) why: String,
}

impl Explanation {
    /// Whether the gateway would certainly forward or answer the request, as long as no limit has been reached.
    #[must_use]
    pub(super) fn is_allowed(&self) -> bool {
        self.verdict == Ending::ALLOWED
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
            ("effect", self.effect),
            ("quota", self.quota.as_deref()),
            ("callback", self.callback.as_deref()),
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

/// How a request ends, and why.
struct Ending {
    verdict: &'static str,
    status: Option<u16>,
    why: String,
}

impl Ending {
    const ALLOWED: &'static str = "allowed";

    fn allowed(why: String) -> Self {
        Self { verdict: Self::ALLOWED, status: None, why }
    }

    fn refused(status: u16, why: impl fmt::Display) -> Self {
        Self { verdict: "refused", status: Some(status), why: why.to_string() }
    }

    fn undecided(why: String) -> Self {
        Self { verdict: "undecided", status: None, why }
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
        effect: None,
        quota: None,
        callback: None,
        verdict: Ending::ALLOWED,
        status: None,
        why: String::new(),
    };
    let outcome = place(router, question, path).and_then(|place| {
        let found = find(router, question.method, path, &place)?;
        Ok((place, found))
    });
    let Ending { verdict, status, why } = match outcome {
        Err(refusal) => refusal,
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
            if let Caller::Unknown(callback) = question.caller
                && found.class != Class::Public
            {
                explanation.callback = Some(callback.to_string());
            }
            explanation.effect = Some(effect(&found).sign()).filter(|sign| !sign.is_empty());
            let ending = judge(&found, question);
            if ending.status.is_none() {
                explanation.quota = quota::quota(effect(&found), question.caller, question.tenancy);
            }
            ending
        }
    };
    Explanation { verdict, status, why, ..explanation }
}

fn place(router: &Router, question: &Question<'_>, path: &str) -> Result<Place, Ending> {
    if matches!(*question.method, Method::TRACE | Method::CONNECT) {
        return Err(Ending::refused(405, format!("{} is accepted nowhere", question.method)));
    }
    let host = match question.host {
        None => crate::route::HostKind::Other,
        Some(host) => Authority::parse(host)
            .and_then(|host| host.classify(question.domain))
            .map_err(|why| Ending::refused(400, why))?,
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
        (Err(why), _) => Err(Ending::refused(400, why)),
    }
}

fn find<'p>(
    router: &Router,
    method: &Method,
    path: &'p str,
    place: &Place,
) -> Result<Match<'p>, Ending> {
    match place {
        Place::Control => {
            CanonicalPath::parse(path).and_then(|path| router.find_control(method, &path))
        }
        Place::Port { port, .. } => router.find_data(*port, method, path),
    }
    .map_err(|why| Ending::refused(400, why))
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

fn effect(found: &Match<'_>) -> Effect {
    found.route().map_or(Effect::None, |row| row.effect)
}

fn judge(found: &Match<'_>, question: &Question<'_>) -> Ending {
    let (caller, tenants) = (question.caller, question.tenancy.settings);
    let requirement = Requirement::of(found.class, false);
    let (tenant, scopes) = match caller {
        Caller::Nobody if requirement == Requirement::Nothing => (None, Scopes::default()),
        Caller::Nobody => return Ending::refused(401, "a credential is needed"),
        // Whatever the callback says, nobody can do more than this.
        Caller::Open | Caller::Unknown(_) => (None, Scopes::ALL),
        Caller::Key { tenant, scopes } => (tenant, scopes),
    };
    if let Some(allow) = found.method_not_allowed {
        let allow = allow.names().collect::<Vec<_>>().join(", ");
        return Ending::refused(405, format!("the method must be one of {allow}"));
    }
    match requirement.verdict(scopes) {
        Verdict::Hidden => Ending::refused(404, "the gateway shows this route to nobody"),
        Verdict::MissingScope(scope) => {
            Ending::refused(403, format!("API key lacks required scope: {}", scope.name()))
        }
        Verdict::Public => Ending::allowed("the route is public".to_owned()),
        Verdict::Allowed => match (caller, needed(found.class)) {
            (Caller::Unknown(_), scope) => Ending::undecided(up_to_the_callback(scope)),
            (Caller::Open, _) => Ending::allowed("no authenticator is configured".to_owned()),
            (Caller::Nobody | Caller::Key { .. }, scope) => {
                if let Some(refusal) = quota::refusal(effect(found), tenant, tenants) {
                    return refusal;
                }
                let base = match scope {
                    None => "any valid key will do".to_owned(),
                    Some(scope) => format!("the key has the scope {}", scope.name()),
                };
                Ending::allowed(base + &ownership(found, tenant, scopes, tenants.isolation))
            }
        },
    }
}

fn up_to_the_callback(needed: Option<Scope>) -> String {
    let needs = needed.map_or("any credential that it knows will do".to_owned(), |scope| {
        format!("the route needs the scope {}", scope.name())
    });
    format!(
        "the token is none of the configured keys; the auth callback, which was not asked, decides whose it is: {needs}"
    )
}

/// What else depends on whose sandboxes are: whether a request passes, or what a list shows. Nothing where an admin asks.
fn ownership(
    found: &Match<'_>,
    tenant: Option<&TenantId>,
    scopes: Scopes,
    isolated: bool,
) -> String {
    if scopes.allows(Scope::Admin) {
        return String::new();
    }
    let is_listed = found.has(Notes::LIST) || found.has(Notes::OWN_QUERY);
    let is_about_one = found.surface.is_data_plane() || found.has(Notes::OWN);
    if !isolated {
        let said = "; tenants are not isolated, so it does not matter whose a sandbox is";
        return if is_listed || is_about_one { said.to_owned() } else { String::new() };
    }
    let owner = tenant.map_or("the caller's tenant".to_owned(), |t| format!("tenant {t}"));
    if is_listed {
        format!("; what does not belong to {owner} is left out")
    } else if is_about_one {
        format!("; the sandbox must belong to {owner}, else 404")
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests;
