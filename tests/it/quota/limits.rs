//! Whose limit it is, and who meets it.

use coppice_gateway::simulator::Options;

use super::{assert_refused, count, create, created, limited, starts, with_limits};
use crate::support::callback::{Reply, Scripted};
use crate::support::{Ask, World};

#[test]
fn each_tenant_has_its_own_and_all_its_keys_share_it() {
    let world = limited("team-a=2, team-b=1");
    created(&world, "exec");
    created(&world, "owner");
    for role in ["exec", "owner", "admin"] {
        assert_refused(&create(&world, role), "team-a", 2);
    }
    created(&world, "other");
    assert_refused(&create(&world, "other"), "team-b", 1);
    assert_eq!(starts(&world.simulator).len(), 3);
}

#[test]
fn an_admins_own_count_too() {
    let world = limited("team-a=1");
    created(&world, "admin");
    assert_refused(&create(&world, "exec"), "team-a", 1);
}

#[test]
fn who_is_not_named_has_that_of_all_others() {
    let world = limited("team-a=1\n*=2");
    created(&world, "exec");
    assert_refused(&create(&world, "exec"), "team-a", 1);
    for _ in 0..2 {
        created(&world, "other");
    }
    assert_refused(&create(&world, "other"), "team-b", 2);
}

#[test]
fn the_maximum_is_for_whom_nothing_else_is_said() {
    let world = World::with(Options::default(), |setup| {
        with_limits(setup, "team-a=2").env("COPPICE_TENANT_MAX_SANDBOXES", "1")
    });
    for _ in 0..2 {
        created(&world, "exec");
    }
    assert_refused(&create(&world, "exec"), "team-a", 2);
    created(&world, "other");
    assert_refused(&create(&world, "other"), "team-b", 1);
}

#[test]
fn zero_means_none_and_costs_the_upstream_nothing() {
    let world = limited("team-a=0");
    for role in ["exec", "admin"] {
        assert_refused(&create(&world, role), "team-a", 0);
    }
    assert_eq!(world.simulator.request_count(), 0);
    created(&world, "other");
}

#[test]
fn a_bad_body_and_a_missing_scope_are_told_before_the_limit() {
    let world = limited("team-a=0");
    let bad = world.ask("exec", Ask::post("/v2/sandboxes", "[]"));
    assert_eq!(bad.status, 400, "{}", bad.text());
    let scope = create(&world, "read");
    assert_eq!((scope.status, scope.code().as_str()), (403, "missing_scope"));
    assert_eq!(world.simulator.request_count(), 0);
}

#[test]
fn nobody_is_limited_where_nobody_is_known() {
    let world = World::with(Options::default(), |setup| {
        setup.without("COPPICE_API_KEYS").env("COPPICE_TENANT_MAX_SANDBOXES", "1")
    });
    for _ in 0..3 {
        created(&world, "exec");
    }
    assert_eq!(world.simulator.count_of("none", ""), (0, 0));
    assert_eq!(starts(&world.simulator).len(), 3);
}

#[test]
fn the_smaller_of_the_tenants_limit_and_the_identitys_holds() {
    let service = Scripted::always(Reply::allow());
    let world = World::with(Options::default(), |setup| {
        setup
            .env("AUTH_CALLBACK_URL", service.url())
            .env("COPPICE_TENANT_SANDBOX_LIMITS", "team-x=2")
    });
    let identity = |tenant: &str, most: &str| {
        Reply::allow()
            .with("X-Auth-Tenant", tenant)
            .with("X-Auth-Scopes", "exec")
            .with("X-Auth-Max-Sandboxes", most)
    };
    let create = || super::creating(&serde_json::json!({})).key("theirs").send(world.control());
    service.now(identity("team-x", "1"));
    assert_eq!(create().status, 201);
    assert_refused(&create(), "team-x", 1);
    service.now(identity("team-x", "5"));
    assert_eq!(create().status, 201);
    assert_refused(&create(), "team-x", 2);
    // Where the tenant has none, the identity's is the only one.
    service.now(identity("team-y", "1"));
    assert_eq!(create().status, 201);
    assert_refused(&create(), "team-y", 1);
    assert_eq!(count(&world.simulator, "team-x"), (2, 2));
    assert_eq!(count(&world.simulator, "team-y"), (1, 1));
}

#[test]
fn a_limit_that_was_lowered_ends_nothing() {
    let world = limited("team-a=3");
    let ids: Vec<String> = (0..3).map(|_| created(&world, "exec")).collect();
    let lower = world.sibling(|setup| with_limits(setup, "team-a=2"));
    let world = World { gateway: lower, simulator: world.simulator };
    assert_refused(&create(&world, "exec"), "team-a", 2);
    assert_eq!(count(&world.simulator, "team-a").0, 3);
    assert_eq!(super::post(&world, "exec", &ids[0], "connect").status, 200);
    assert_eq!(super::kill(&world, "exec", &ids[0]), 204);
    assert_refused(&create(&world, "exec"), "team-a", 2);
    assert_eq!(super::kill(&world, "exec", &ids[1]), 204);
    created(&world, "exec");
    assert_refused(&create(&world, "exec"), "team-a", 2);
}
