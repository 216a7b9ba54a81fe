//! Every row of the route table, with each kind of credential, and secrets in all other places of a request too.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use coppice_gateway::route::table;
use coppice_gateway::route::{Class, Methods, Notes, Route, Surface};
use coppice_gateway::simulator::{Options, RecordedRequest};

use super::{Needles, STATE, Watch, follow, key, secret};
use crate::matrix::{METHODS, class};
use crate::support::callback::{Call, Reply, Scripted};
use crate::support::world::UPSTREAM_KEY;
use crate::support::{Answer, Ask, Wire, World};

macro_rules! signed {
    ($($(#[$what:meta])* $name:ident,)*) => {
        /// What a request is signed with.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub(super) enum Signed { $($(#[$what])* $name,)* }

        const ALL: &[Signed] = &[$(Signed::$name,)*];
        use Signed::{$($name,)*};
    };
}

signed! {
    Key,
    KeyAndBasic,
    BearerBesideKey,
    Read,
    Stranger,
    Nobody,
    /// By the auth callback's word.
    Known,
    KnownBearer,
    /// The auth callback says no, and says to whom.
    Refused,
    /// It answers nonsense, and what it was asked.
    Broken,
    /// Its answer's head says what it was asked where a scope should be.
    Nonsense,
}

impl Signed {
    pub(super) fn sign(self, ask: Ask, number: usize) -> Ask {
        let own = secret(&format!("{self:?}"), number);
        match self {
            Key => ask.key(&key("admin")),
            KeyAndBasic => {
                let basic = STANDARD.encode(format!("user:{own}"));
                ask.key(&key("admin")).header("Authorization", format!("Basic {basic}"))
            }
            BearerBesideKey => ask.bearer(&key("admin")).key(&own),
            Read => ask.key(&key("read")),
            Stranger => ask.key(&key("other")),
            Nobody => ask,
            Known | Refused | Broken | Nonsense => ask.key(&own),
            KnownBearer => ask.bearer(&own),
        }
    }

    /// Whether the auth callback has to be asked on this row.
    fn asks(self, is_public: bool, is_foreign_bearer: bool) -> bool {
        match self {
            Key | KeyAndBasic | Read | Stranger | Nobody => false,
            // There the Bearer is the upstream's, and the key what counts.
            BearerBesideKey => is_foreign_bearer,
            Known | Refused | Broken | Nonsense => !is_public,
            KnownBearer => !is_public && !is_foreign_bearer,
        }
    }
}

/// Answers as the credential's name wants it, and says it back where that must not get any further.
pub(super) fn service() -> Scripted {
    Scripted::start(|call: &Call| {
        let told = call.credential();
        let allow = Reply::allow().with("X-Auth-Tenant", "team-a").with("X-Auth-Scopes", "admin");
        let bytes = |text: String| Reply::Bytes(text.into_bytes());
        if told.contains("-Known") {
            allow.with("X-Echo", told)
        } else if told.contains("-Broken-") {
            bytes(format!("{told} {told}\r\n{told}\r\n\r\n{told}"))
        } else if told.contains("-Nonsense-") {
            allow.with("X-Auth-Expires", told)
        } else {
            let length = told.len();
            bytes(format!(
                "HTTP/1.1 401 {told}\r\nWWW-Authenticate: Bearer realm=\"{told}\"\r\nContent-Length: {length}\r\n\r\n{told}"
            ))
        }
    })
}

/// A request with a secret in each place that may hold one.
pub(super) fn ask(method: &str, path: &str, number: usize) -> Ask {
    let of = |place: &str| secret(place, number);
    let path = if number.is_multiple_of(2) {
        let query = [of("query"), of("signature"), of("token")];
        format!("{path}?key={}&signature=v1_{}&token={}", query[0], query[1], query[2])
    } else {
        path.to_owned()
    };
    let ask = Ask::new(method, &path)
        .header("X-Request-Id", format!("sweep-{number}"))
        .header("X-Custom", of("custom"))
        .header("Cookie", format!("session={}", of("cookie")))
        .header(
            "Referer",
            format!("https://user:{}@a.example/?t={}", of("userinfo"), of("referer")),
        )
        .header("X-Admin-Token", of("admin-token"))
        .header("X-Supabase-Token", of("supabase"))
        .header("Proxy-Authorization", format!("Bearer {}", of("proxy")))
        .header("Sec-WebSocket-Protocol", of("protocol"))
        .header("traceparent", format!("00-{:032x}-b7ad6b7169203331-01", number + 1))
        .header("tracestate", format!("v={STATE}-{number}"))
        .header("baggage", format!("user={}", of("baggage")));
    match method {
        "POST" | "PUT" | "PATCH" => ask.header("Content-Type", "application/json").body(format!(
            r#"{{"templateID":"base","timeout":300,"count":1,"envVars":{{"K":"{}"}},"cmd":"echo {}"}}"#,
            of("variable"),
            of("command"),
        )),
        _ => ask,
    }
}

/// The row's path with every placeholder filled.
pub(super) fn fill(row: &Route, sandbox: &str, number: usize) -> String {
    let segments = row.pattern.split('/').skip(1).map(|segment| match segment {
        "{id}" if row.notes.has(Notes::OWN) => sandbox.to_owned(),
        "{token}" => secret("download", number),
        "*" => "some/thing".to_owned(),
        placeholder if placeholder.starts_with('{') => "thing".to_owned(),
        fixed => fixed.to_owned(),
    });
    segments.fold(String::new(), |path, segment| format!("{path}/{segment}"))
}

/// A gateway whose every request is followed up.
pub(super) struct Sweep {
    pub(super) world: World,
    pub(super) needles: Needles,
    pub(super) sandbox: String,
    pub(super) token: String,
    pub(super) number: usize,
    /// How many requests got through, by what was swept.
    pub(super) passed: BTreeMap<String, usize>,
    pub(super) bodies: usize,
    /// Those that the auth callback must have been asked about.
    asked: BTreeSet<String>,
}

impl Sweep {
    pub(super) fn new(world: World) -> Self {
        let mut needles = Needles::new();
        needles.add(UPSTREAM_KEY);
        let (sandbox, token) = (String::new(), String::new());
        let (passed, asked) = (BTreeMap::new(), BTreeSet::new());
        let mut sweep =
            Self { world, needles, sandbox, token, number: 0, passed, bodies: 0, asked };
        sweep.create();
        sweep
    }

    /// A sandbox of team-a, whose tokens, the real ones and the gateway's, are secrets from now on.
    fn create(&mut self) {
        let ask = Ask::post("/v2/sandboxes", r#"{"templateID":"base","timeout":300}"#);
        let json = ask.key(&key("exec")).send(self.world.control()).json();
        let text = |name: &str| json[name].as_str().unwrap().to_owned();
        (self.sandbox, self.token) = (text("sandboxID"), text("envdAccessToken"));
        let (envd, traffic) = self.world.simulator.tokens_of(&self.sandbox).unwrap();
        for token in [&envd, &traffic, &self.token] {
            self.needles.add(token);
        }
    }

    /// What reached the simulator of this request.
    pub(super) fn arrived(&self, number: usize) -> Option<RecordedRequest> {
        let custom = secret("custom", number);
        let mut all = self.world.simulator.requests().into_iter();
        all.find(|request| request.header("x-custom") == Some(&*custom))
    }

    /// What is passed on must hold what it was sent with, and nothing of it may be in what is not.
    pub(super) fn follow_up(&mut self, number: usize, row: &Route, answer: &Answer, what: &str) {
        let text = format!("{:?} {}", answer.headers, answer.text());
        let Some(arrived) = self.arrived(number) else {
            self.needles.assert_none_in(text.as_bytes(), &format!("the answer to {what}"));
            assert!(!text.contains(STATE), "{what}: {text}");
            return;
        };
        let sent = format!("{} {:?}", arrived.path, arrived.headers);
        let mut places = vec!["custom", "referer", "userinfo", "baggage"];
        if row.class != Class::Public {
            places.push("cookie");
        }
        if number.is_multiple_of(2) && !row.notes.has(Notes::SIGNED) {
            places.extend(["query", "signature", "token"]);
        }
        if row.notes.has(Notes::SECRET_PATH) {
            places.push("download");
        }
        for place in places {
            assert!(sent.contains(&secret(place, number)), "{what} without its {place}: {sent}");
        }
        assert!(sent.contains(&format!("{STATE}-{number}")), "{what}: {sent}");
        assert!(!sent.contains(&key("admin")), "{what}: {sent}");
        let body = String::from_utf8_lossy(&arrived.body);
        if body.contains(&secret("variable", number)) && body.contains(&secret("command", number)) {
            self.bodies += 1;
        }
        *self.passed.entry(format!("{:?} {}", row.surface, row.pattern)).or_default() += 1;
    }

    fn control(&mut self, row: &Route, prefix: &str, method: (&str, Methods), signed: Signed) {
        let (method, listed) = method;
        self.number += 1;
        let number = self.number;
        self.world.simulator.clear_requests();
        let path = format!("{prefix}{}", fill(row, &self.sandbox, number));
        let what = format!("{method} {path} ({number}) by {signed:?}");
        let ask = ask(method, &path, number)
            .header("X-Access-Token", secret("access", number))
            .header("E2b-Traffic-Access-Token", secret("traffic", number));
        let ask = signed.sign(ask, number);
        let control = self.world.control();
        // A stream of events has no end, so its head must do.
        let answer = if path == "/audit/stream" {
            Wire::open(control).start(&ask)
        } else {
            ask.send(control)
        };
        self.follow_up(number, row, &answer, &what);
        let is_public = class(row, prefix, listed) == Some(Class::Public);
        if signed.asks(is_public, row.notes.has(Notes::FOREIGN_BEARER)) {
            self.asked.insert(secret(&format!("{signed:?}"), number));
        }
        if method == "DELETE" && answer.status == 204 {
            self.create();
        }
    }
}

#[test]
fn nothing_secret_is_told_of_any_route_of_the_control_plane() {
    let (watch, service) = (Watch::new(), service());
    let setup = |setup| watch.setup(setup, &service.url());
    let mut sweep = Sweep::new(World::with(Options::default(), setup));
    let following = follow(sweep.world.control());
    let mut rows = BTreeSet::new();
    for row in table::rows().filter(|row| !row.surface.is_data_plane()) {
        let prefixes: &[&str] =
            if row.notes.has(Notes::CUBE) { &["", Route::CUBE_PREFIX] } else { &[""] };
        for (prefix, method) in prefixes.iter().flat_map(|prefix| METHODS.map(|m| (prefix, m))) {
            if row.methods.contains(method.1) && prefix.is_empty() {
                ALL.iter().for_each(|signed| sweep.control(row, prefix, method, *signed));
            } else {
                sweep.control(row, prefix, method, ALL[sweep.number % ALL.len()]);
            }
        }
        if row.surface != Surface::Gateway && row.class != Class::Hidden {
            rows.insert(format!("{:?} {}", row.surface, row.pattern));
        }
    }
    let Sweep { world, needles, passed, bodies, asked, number, .. } = sweep;
    // Nothing is proved by what was not sent.
    assert!(passed.keys().eq(&rows), "{passed:#?}");
    assert!(passed.values().sum::<usize>() > 700 && bodies > 50, "{number} {bodies} {passed:?}");
    let heard: BTreeSet<_> =
        service.calls().iter().map(|call| call.credential().to_owned()).collect();
    let unheard: Vec<_> = heard.symmetric_difference(&asked).collect();
    assert!(unheard.is_empty() && asked.len() > 500, "{unheard:?}");
    for call in service.calls() {
        let text = String::from_utf8(call.raw).unwrap();
        for place in ["query", "cookie", "custom", "access", "variable", "signature"] {
            assert!(!text.contains(&format!("-{place}-")), "{text}");
        }
    }
    needles.assert_none_told(&watch.end(&world.gateway, following));
}
