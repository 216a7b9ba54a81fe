//! Many tenants with many sandboxes: each lists its own, all of them, and soon.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

use coppice_gateway::simulator::{Metadata, Options};

use super::{ids, walk_from};
use crate::support::client::{javascript, python, succeed};
use crate::support::world::key;
use crate::support::{Gateway, World};

const TENANTS: usize = 50;
const EACH: usize = 100;
const SOON: Duration = Duration::from_secs(60);

/// A simulator with the sandboxes of all tenants, in turns, and those of team-a and team-b.
fn crowded(options: Options) -> (World, Vec<(String, String)>) {
    let world = World::with(options, |setup| setup);
    let tenant = |number: usize| match number % TENANTS {
        0 => "team-a".to_owned(),
        1 => "team-b".to_owned(),
        other => format!("team-{other}"),
    };
    let metadata = |number: usize| {
        let (marker, of) = ("coppice_tenant_id".to_owned(), "of".to_owned());
        BTreeMap::from([(marker, tenant(number)), (of, tenant(number))])
    };
    let seeded = world.simulator.seed((0..TENANTS * EACH).map(metadata));
    let owned = seeded.into_iter().enumerate().map(|(number, id)| (id, tenant(number))).collect();
    (world, owned)
}

fn own(owned: &[(String, String)], tenant: &str) -> BTreeSet<String> {
    let own = owned.iter().filter(|(_, owner)| owner == tenant);
    own.map(|(id, _)| id.clone()).collect()
}

/// Pages through a tenant's list: exactly its own are there. The totals that were told.
fn pages_hold_its_own(
    gateway: &Gateway,
    owned: &[(String, String)],
    role: &str,
    limit: usize,
) -> BTreeSet<Option<String>> {
    let started = Instant::now();
    let pages = walk_from(gateway.control(), role, &format!("limit={limit}"));
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    let listed: Vec<String> = pages.iter().flat_map(ids).collect();
    assert_eq!(listed.len(), EACH, "{role} by {limit}");
    let tenant = if role == "other" { "team-b" } else { "team-a" };
    assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), own(owned, tenant));
    pages.iter().map(|page| page.header("x-total-running").map(str::to_owned)).collect()
}

#[test]
fn a_tenant_pages_through_its_own_among_five_thousand() {
    let total = BTreeSet::from([Some(EACH.to_string())]);
    let (world, owned) = crowded(Options::default());
    for role in ["read", "other"] {
        for limit in [7, 100] {
            assert_eq!(pages_hold_its_own(&world.gateway, &owned, role, limit), total);
        }
    }
    assert_eq!(walk_from(world.control(), "admin", "limit=100").iter().flat_map(ids).count(), 5000);
}

#[test]
fn where_the_upstream_does_not_filter_totals_are_not_told() {
    let (world, owned) = crowded(Options { ignore_filters: true, ..Options::default() });
    for role in ["read", "other"] {
        let totals = pages_hold_its_own(&world.gateway, &owned, role, 100);
        assert_eq!(totals, BTreeSet::from([None]), "{role}");
    }
}

#[test]
fn where_the_upstream_keeps_no_metadata_the_record_is_enough() {
    let options = Options { metadata: Metadata::Dropped, ..Options::default() };
    let (world, owned) = crowded(options);
    let kept = tempfile::tempdir().unwrap();
    let mut record = String::new();
    for (id, tenant) in &owned {
        writeln!(record, "{id}\t{tenant}\t1").unwrap();
    }
    std::fs::write(kept.path().join("ownership"), record).unwrap();
    let gateway = world.sibling(|setup| setup.state_dir(kept.path()));
    for role in ["read", "other"] {
        let totals = pages_hold_its_own(&gateway, &owned, role, 100);
        assert_eq!(totals, BTreeSet::from([None]), "{role}");
    }
}

/// The list that an SDK's paginator makes for team-a, whatever the upstream does with filters.
fn paginator(script: impl Fn() -> Command) {
    for ignore_filters in [false, true] {
        let (world, owned) = crowded(Options { ignore_filters, ..Options::default() });
        let own: Vec<String> = own(&owned, "team-a").into_iter().collect();
        let mut script = script();
        script
            .env("E2B_API_URL", world.api_url())
            .env("E2B_SANDBOX_URL", world.sandbox_url())
            .env("E2B_API_KEY", key("exec"))
            .env("EXPECTED", own.join(","));
        let started = Instant::now();
        succeed(script, &world.gateway);
        assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    }
}

#[test]
fn pythons_paginator_lists_its_own_among_five_thousand() {
    paginator(|| python(".venv", "python/sync/paging.py"));
}

#[test]
fn javascripts_paginator_lists_its_own_among_five_thousand() {
    paginator(|| javascript("new", "paging.mjs"));
}
