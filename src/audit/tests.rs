//! What is kept, who is shown which of it, and what followers are told.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderValue, Method, StatusCode, Uri};
use tokio_util::sync::CancellationToken;

use super::{Event, Filter, Page, Sink, Told, Trail, View};
use crate::caller::Caller;
use crate::credential::Kind;
use crate::principal::{KeyId, Principal, Revocation, Scope, Scopes, Source, TenantId};
use crate::record::{Observer, Observers, Pending, Record};
use crate::route::Listener;

pub(super) fn principal(tenant: &str, scope: Scope) -> Arc<Principal> {
    let (tenant, key) = (TenantId::parse(tenant).unwrap(), KeyId::new("k1"));
    let scopes = Scopes::default().with(scope);
    Arc::new(Principal {
        tenant,
        name: Some("ci".into()),
        key,
        scopes,
        not_before: None,
        expires: None,
        max_sandboxes: None,
        source: Source::Static,
        revocation: Revocation::Notice(Arc::default()),
    })
}

pub(super) fn record(method: &str, target: &str) -> Record {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let uri: Uri = target.parse().unwrap();
    let id = HeaderValue::from_static("r-1");
    let record = Record::begin(id, Some([192, 0, 2, 7].into()), method, uri);
    with(record.on(Listener::Control { one_port: true }), |record| {
        record.status = Some(StatusCode::OK);
    })
}

pub(super) fn by(tenant: &str, record: Record) -> Record {
    let principal = principal(tenant, Scope::Exec);
    with(record, |record| {
        record.scopes = principal.scopes;
        record.principal = Some(principal);
    })
}

pub(super) fn with(mut record: Record, change: impl FnOnce(&mut Record)) -> Record {
    change(&mut record);
    record
}

#[derive(Debug, Default)]
struct Kept(Mutex<Vec<Arc<Event>>>);

impl Sink for Kept {
    fn offer(&self, event: Arc<Event>) {
        self.0.lock().unwrap().push(event);
    }
}

fn trail(cap: usize) -> Arc<Trail> {
    Arc::new(Trail::new(NonZeroUsize::new(cap).unwrap(), None))
}

fn everything(filter: Filter) -> View {
    View::of(&Caller::Open, filter).unwrap()
}

fn of_owner(tenant: &str, filter: Filter) -> View {
    let caller = Caller::Key(principal(tenant, Scope::Owner), Kind::ApiKey);
    View::of(&caller, filter).unwrap()
}

/// The paths of a page, without their slashes.
async fn paths(trail: &Trail, view: &View, page: Page) -> String {
    let events = trail.page(view, &page).await;
    events.iter().map(|event| event.path.trim_start_matches('/')).collect::<Vec<_>>().join(" ")
}

fn add(trail: &Trail, tenant: &str, path: &str) {
    trail.ended(&by(tenant, record("POST", path)));
}

#[test]
fn the_sink_is_offered_what_is_recorded_and_nothing_else() {
    let sink = Arc::new(Kept::default());
    let trail = Trail::new(NonZeroUsize::MIN, Some(Arc::clone(&sink) as Arc<dyn Sink>));
    for (method, path) in [("POST", "/a"), ("GET", "/b"), ("DELETE", "/c")] {
        trail.ended(&record(method, path));
    }
    let kept = sink.0.lock().unwrap();
    let paths: Vec<_> = kept.iter().map(|event| &*event.path).collect();
    assert_eq!(paths, ["/a", "/c"]);
}

#[test]
fn a_bug_that_takes_a_request_down_is_recorded() {
    let trail = trail(8);
    let observers =
        Observers::new(vec![Arc::clone(&trail) as Arc<dyn Observer>], CancellationToken::new());
    let pending = Pending::new(record("GET", "/x"), observers);
    let ended = std::thread::spawn(move || {
        let _pending = pending;
        panic!("provoked by a test");
    });
    assert!(ended.join().is_err());
    let events = trail.ring().among(0..8);
    let seen = serde_json::to_value(&*events[0]).unwrap();
    assert_eq!(
        (events.len(), &seen["outcome"], &seen["status"]),
        (1, &"error".into(), &500.into())
    );
}

#[tokio::test]
async fn the_ring_keeps_the_newest() {
    let page = Page::default();
    for (cap, expected) in [(1, "p9"), (3, "p9 p8 p7"), (10, "p9 p8 p7 p6 p5 p4 p3 p2 p1 p0")] {
        let trail = trail(cap);
        assert_eq!(paths(&trail, &everything(Filter::default()), page).await, "");
        for number in 0..10 {
            add(&trail, "team-a", &format!("/p{number}"));
        }
        assert_eq!(paths(&trail, &everything(Filter::default()), page).await, expected);
    }
}

#[tokio::test]
async fn pages_are_cut_from_what_is_shown() {
    // More than are looked at at once.
    let trail = trail(2048);
    for number in 0..3000 {
        add(&trail, if number % 2 == 0 { "team-a" } else { "team-b" }, &format!("/{number}"));
    }
    let of_b = of_owner("team-b", Filter::default());
    for (limit, offset, oldest_first, expected) in [
        (3, 0, false, "2999 2997 2995"),
        (2, 3, false, "2993 2991"),
        (2, 0, true, "953 955"),
        (2, 1022, false, "955 953"),
        (5, 1023, false, "953"),
        (5, 1024, false, ""),
        (5, usize::MAX, true, ""),
    ] {
        let page = Page { limit, offset, oldest_first };
        assert_eq!(paths(&trail, &of_b, page).await, expected, "{page:?}");
    }
    let all = trail.page(&of_b, &Page { limit: 500, ..Page::default() }).await;
    assert_eq!(all.len(), 500);
}

#[tokio::test]
async fn who_sees_what() {
    let trail = trail(8);
    add(&trail, "team-a", "/a");
    add(&trail, "team-b", "/b");
    trail.ended(&record("POST", "/nobody"));
    let tenant =
        |name| Filter { tenant: Some(TenantId::parse(name).unwrap()), ..Filter::default() };
    let admin = Caller::Key(principal("team-a", Scope::Admin), Kind::Bearer);
    for (view, expected) in [
        (everything(Filter::default()), "nobody b a"),
        (View::of(&admin, Filter::default()).unwrap(), "nobody b a"),
        (View::of(&admin, tenant("team-b")).unwrap(), "b"),
        (of_owner("team-a", Filter::default()), "a"),
        (of_owner("team-a", tenant("team-a")), "a"),
        (of_owner("team-a", tenant("team-b")), ""),
        (of_owner("team-c", Filter::default()), ""),
    ] {
        assert_eq!(paths(&trail, &view, Page::default()).await, expected, "{view:?}");
    }
    assert!(View::of(&Caller::Anonymous, Filter::default()).is_none());
}

fn path_of(told: Told) -> String {
    match told {
        Told::Event(event) => event.path.to_string(),
        Told::Gap(gap) => gap.name().to_owned(),
    }
}

#[tokio::test]
async fn a_follower_is_told_what_comes_and_what_it_missed() {
    let trail = trail(4);
    add(&trail, "team-a", "/before");
    let mut all = trail.follow(everything(Filter::default()), None);
    let mut of_b = trail.follow(of_owner("team-b", Filter::default()), None);
    // Giving a wait up loses nothing.
    assert!(tokio::time::timeout(Duration::from_millis(1), of_b.next()).await.is_err());
    let waiting = tokio::spawn(async move { (path_of(of_b.next().await), of_b) });
    tokio::task::yield_now().await;
    add(&trail, "team-a", "/a");
    add(&trail, "team-b", "/b");
    let (seen, mut of_b) = waiting.await.unwrap();
    assert_eq!(seen, "/b");
    assert_eq!(path_of(all.next().await), "/a");
    for number in 0..6 {
        add(&trail, "team-b", &format!("/{number}"));
    }
    // What it has been given already it keeps.
    let mut seen = Vec::new();
    for _ in 0..6 {
        seen.push(path_of(all.next().await));
    }
    assert_eq!(seen, ["/b", "overtaken", "/2", "/3", "/4", "/5"]);
    assert_eq!(path_of(of_b.next().await), "overtaken");
    assert_eq!(path_of(of_b.next().await), "/2");
}

#[tokio::test]
async fn a_follower_goes_on_where_it_was() {
    let trail = trail(1000);
    for number in 0..1500 {
        add(&trail, if number % 3 == 0 { "team-a" } else { "team-b" }, &format!("/{number}"));
    }
    let ids: Vec<String> =
        trail.ring().among(500..1500).iter().map(|event| event.id().to_string()).collect();
    let forgotten = "0123456789abcdef0123456789abcdef";
    for (last, expected) in [
        (&*ids[0], ["/501", "/502"]),
        (&ids[997], ["/1498", "/1499"]),
        (forgotten, ["forgotten", "/500"]),
        ("", ["forgotten", "/500"]),
    ] {
        let mut follower = trail.follow(everything(Filter::default()), Some(last));
        let seen = [path_of(follower.next().await), path_of(follower.next().await)];
        assert_eq!(seen, expected, "{last}");
    }
    // An event of somebody else's is as good as none.
    let mut follower = trail.follow(of_owner("team-b", Filter::default()), Some(&ids[1]));
    let seen = [path_of(follower.next().await), path_of(follower.next().await)];
    assert_eq!(seen, ["forgotten", "/500"]);
}
