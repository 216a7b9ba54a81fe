//! What `explain` says, for each kind of outcome.

use super::*;
use crate::config::{LimitOrigins, QuotaStatus, Spelling, TenantSettings};
use crate::limits::Limits;
use crate::target::ENVD_PORT;

const API: Listener = Listener::Control { one_port: true };
const ENVD: Listener = Listener::Data(PortLabel::Port(ENVD_PORT));

/// `scopes` is a list with `|`, `-` for nobody, `*` for an open gateway and `?` for whoever the callback names.
fn ask(listener: Listener, method: &str, path: &str, host: &str, scopes: &str) -> Explanation {
    ask_where(&tenants("other=1", true), listener, method, path, host, scopes)
}

fn tenants(limits: &str, isolation: bool) -> TenantSettings {
    TenantSettings {
        isolation,
        show_marker: true,
        metadata_reserved: Vec::new(),
        limits: Limits::parse(limits).unwrap_or_default(),
        quota_status: QuotaStatus::TooManyRequests,
    }
}

fn ask_where(
    settings: &TenantSettings,
    listener: Listener,
    method: &str,
    path: &str,
    host: &str,
    scopes: &str,
) -> Explanation {
    let variable = |name: &str| Spelling::Variable(name.to_owned());
    let origins = LimitOrigins { list: variable("LIST"), maximum: variable("MAXIMUM") };
    let domain = Domain::parse("box.dev").unwrap();
    let tenant = TenantId::parse("team-a").unwrap();
    let callback = CallbackUrl::parse("https://auth.test/verify?tok=canary").unwrap();
    let caller = match scopes {
        "-" => Caller::Nobody,
        "*" => Caller::Open,
        "?" => Caller::Unknown(&callback),
        list => Caller::Key {
            tenant: Some(&tenant),
            scopes: list.split('|').map(|scope| scope.parse::<Scope>().unwrap()).collect(),
        },
    };
    let question = Question {
        method: &method.parse().unwrap(),
        path,
        host: (!host.is_empty()).then_some(host),
        listener,
        domain: Some(&domain),
        caller,
        tenancy: Tenancy { settings, origins: &origins },
    };
    explain(&Router::new(), &question)
}

#[test]
fn names_the_rule_and_the_verdict() {
    for (listener, method, path, host, scopes, status, surface, class, why) in [
        (API, "GET", "/health", "", "-", None, "api", "public", "the route is public"),
        (API, "GET", "/sandboxes", "", "-", Some(401), "api", "read", "a credential is needed"),
        (API, "GET", "/sandboxes?limit=1", "", "read", None, "api", "read", "the scope read"),
        (API, "POST", "/sandboxes", "", "read", Some(403), "api", "exec", "required scope: exec"),
        (API, "POST", "/sandboxes", "", "*", None, "api", "exec", "no authenticator"),
        (API, "GET", "/nothing", "", "exec", Some(403), "api", "admin", "required scope: admin"),
        (API, "GET", "/nothing", "", "admin", None, "api", "admin", "the scope admin"),
        (API, "GET", "/sandboxes/abc", "", "read", None, "api", "read", "belong to tenant team-a"),
        (API, "GET", "/sandboxes/abc", "", "admin", None, "api", "read", "has the scope read"),
        (API, "GET", "/auth/whoami", "", "read", None, "gateway", "any", "any valid key"),
        (API, "POST", "/auth/whoami", "", "admin", Some(405), "gateway", "any", "one of GET"),
        (API, "GET", "/auth/x", "", "admin", Some(404), "gateway", "hidden", "to nobody"),
        (API, "POST", "/api-keys", "", "admin", Some(404), "api", "hidden", "to nobody"),
        (API, "GET", "/v2/", "api.box.dev", "admin", None, "registry", "admin", "scope admin"),
        (API, "POST", "/init", "49983-abc.box.dev", "*", Some(404), "envd", "hidden", "nobody"),
        (API, "GET", "/health", "49983-abc.box.dev", "-", Some(401), "envd", "read", "credential"),
        (API, "GET", "/a//b", "80-abc.box.dev", "exec", None, "port", "exec", "tenant team-a"),
        (API, "GET", "/files", "localhost:3000", "exec", Some(403), "api", "admin", "admin"),
        (ENVD, "GET", "/files", "", "exec", None, "envd", "exec", "the scope exec; the sandbox"),
        (ENVD, "GET", "/files", "127.0.0.1", "read", Some(403), "envd", "exec", "scope: exec"),
    ] {
        let said = ask(listener, method, path, host, scopes);
        assert_eq!(said.status, status, "{said}");
        assert_eq!(said.is_allowed(), status.is_none(), "{said}");
        assert_eq!(said.verdict, if status.is_none() { "allowed" } else { "refused" }, "{said}");
        assert_eq!((said.surface, said.class), (Some(surface), Some(class)), "{said}");
        assert!(said.why.contains(why), "{said}");
    }
}

#[test]
fn says_what_is_refused_before_it_has_a_class() {
    for (listener, method, path, host, status, why) in [
        (API, "GET", "/ui/../sandboxes", "", 400, "'..'"),
        (API, "GET", "/sandboxes/a%2Fb", "", 400, "encoded slash"),
        (API, "GET", "/health", "a b", 400, "host is malformed"),
        (API, "GET", "/health", "070-abc.box.dev", 400, "<port>-<sandbox id>"),
        (API, "GET", "/health", "sandbox.box.dev", 400, "no sandbox is named"),
        (ENVD, "GET", "/health", "80-abc.box.dev", 400, "different targets"),
        (API, "TRACE", "/health", "", 405, "nowhere"),
    ] {
        let said = ask(listener, method, path, host, "admin");
        assert_eq!((said.status, said.surface, said.class), (Some(status), None, None), "{said}");
        assert!(said.why.contains(why), "{said}");
    }
}

#[test]
fn renders_as_text_and_json() {
    let said = ask(API, "POST", "/files?x=secret", "49983-abc-c1.box.dev", "read");
    assert_eq!(
        said.to_string(),
        "POST /files\n  surface  envd\n  sandbox  abc-c1\n  port     49983\n  rule     POST /files\n  class    exec\n  \
         scope    exec\n  verdict  refused, 403\n  why      API key lacks required scope: exec\n"
    );
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&said.render_json()).unwrap(),
        serde_json::json!({
            "method": "POST", "path": "/files", "surface": "envd", "sandbox": "abc-c1", "port": 49983,
            "rule": "POST /files",
            "class": "exec", "scope": "exec", "effect": null, "quota": null,
            "callback": null, "verdict": "refused", "status": 403, "why": "API key lacks required scope: exec",
        })
    );
}

#[test]
fn what_is_up_to_the_callback_is_not_decided() {
    let said = ask(API, "POST", "/sandboxes", "", "?");
    assert_eq!(
        said.to_string(),
        "POST /sandboxes\n  surface  api\n  rule     POST /sandboxes\n  class    exec\n  scope    exec\n  \
         effect   +1\n  quota    one active sandbox more; the limit is the tenant's, or one that the auth callback sets \
         if that is smaller\n  callback https://auth.test/verify\n  verdict  undecided\n  why      the token is none of the configured \
         keys; the auth callback, which was not asked, decides whose it is: the route needs the scope exec\n"
    );
    for (method, path, verdict, status, is_asked, why) in [
        ("GET", "/auth/whoami", "undecided", None, true, "any credential that it knows will do"),
        ("GET", "/nothing", "undecided", None, true, "the route needs the scope admin"),
        ("GET", "/health", "allowed", None, false, "the route is public"),
        ("POST", "/api-keys", "refused", Some(404), true, "shows this route to nobody"),
        ("POST", "/auth/whoami", "refused", Some(405), true, "one of GET"),
        ("GET", "/a/../b", "refused", Some(400), false, "'..'"),
    ] {
        let said = ask(API, method, path, "", "?");
        assert_eq!((said.verdict, said.status), (verdict, status), "{said}");
        assert_eq!((said.is_allowed(), said.callback.is_some()), (verdict == "allowed", is_asked));
        assert!(said.why.contains(why) && !said.render_json().contains("canary"), "{said}");
    }
}

#[test]
fn says_what_counts_and_against_which_limit() {
    const ONE: &str = "one active sandbox more; ";
    const RESUME: &str = "one active sandbox more, unless it counts already as running or paused; ";
    const FORK: &str = "as many active sandboxes more as the body asks for; ";
    let named = "limit of 2 active sandboxes for tenant team-a (LIST)";
    let rest = "limit of 4 active sandboxes for tenant team-a (LIST, for *)";
    let of_sandbox = "the limit is that of the sandbox's tenant";
    for (limits, path, scopes, effect, quota) in [
        ("team-a=2", "/sandboxes", "exec", "+1", [ONE, named].concat()),
        ("team-a=2", "/v2/sandboxes", "admin", "+1", [ONE, named].concat()),
        ("*=4,b=2", "/sandboxes", "exec", "+1", [ONE, rest].concat()),
        ("b=2", "/sandboxes", "exec", "+1", [ONE, "no limit for tenant team-a"].concat()),
        ("", "/sandboxes", "exec", "+1", [ONE, "no limit is set"].concat()),
        ("team-a=2", "/sandboxes", "*", "+1", [ONE, "an open gateway limits nobody"].concat()),
        ("team-a=2", "/sandboxes/i1/resume", "exec", "+1?", [RESUME, named].concat()),
        ("team-a=2", "/sandboxes/i1/resume", "admin", "+1?", [RESUME, of_sandbox].concat()),
        ("team-a=2", "/sandboxes/i1/fork", "exec", "+n", [FORK, named].concat()),
        ("team-a=2", "/sandboxes/i1/fork", "admin", "+n", [FORK, of_sandbox].concat()),
    ] {
        let said = ask_where(&tenants(limits, true), API, "POST", path, "", scopes);
        assert_eq!((said.effect, said.quota.as_ref()), (Some(effect), Some(&quota)), "{said}");
        assert!(said.is_allowed() && said.to_string().contains(&format!("quota    {quota}\n")));
    }
    let end = ask(API, "DELETE", "/sandboxes/i1", "", "exec");
    assert_eq!((end.effect, end.quota.as_deref()), (Some("end"), Some("one active sandbox less")));
    let read = ask(API, "GET", "/sandboxes", "", "exec");
    assert_eq!((read.effect, read.quota), (None, None));
    let refused = ask(API, "POST", "/sandboxes", "", "read");
    assert_eq!((refused.effect, refused.quota), (Some("+1"), None));
}

#[test]
fn a_tenant_that_may_have_none_is_refused_at_once() {
    for (path, scopes, status) in [
        ("/sandboxes", "exec", Some(429)),
        ("/sandboxes", "admin", Some(429)),
        ("/sandboxes", "read", Some(403)),
        ("/sandboxes", "*", None),
        // Only the upstream knows whether there is anything to start.
        ("/sandboxes/i1/connect", "exec", None),
    ] {
        let said = ask_where(&tenants("team-a=0", true), API, "POST", path, "", scopes);
        assert_eq!(said.status, status, "{said}");
        let exceeded = said.why == "tenant team-a has reached its limit of 0 active sandboxes";
        assert_eq!(exceeded, status == Some(429), "{said}");
    }
}

#[test]
fn without_isolation_it_does_not_matter_whose_a_sandbox_is() {
    let settings = tenants("team-a=2", false);
    for (method, path) in
        [("GET", "/sandboxes/i1"), ("GET", "/v2/sandboxes"), ("POST", "/sandboxes/i1/resume")]
    {
        let said = ask_where(&settings, API, method, path, "", "exec");
        assert!(said.is_allowed() && said.why.contains("does not matter whose"), "{said}");
    }
    let created = ask_where(&settings, API, "POST", "/sandboxes", "", "exec");
    assert_eq!(created.why, "the key has the scope exec");
    let resumed = ask_where(&settings, API, "POST", "/sandboxes/i1/resume", "", "exec");
    assert!(resumed.quota.is_some_and(|quota| quota.ends_with("that of the sandbox's tenant")));
}
