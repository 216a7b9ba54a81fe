//! Filters that clients send: kept, and never a way to more.

use super::{SECRET_OF_A, SECRET_OF_B, create, forwarded, id_set, ids, populate, worlds};
use crate::support::{Ask, World};

#[test]
fn a_clients_own_filter_is_kept_and_narrows() {
    let world = World::new();
    let (of_a, _) = populate(&world, 2);
    let note = create(&world, "exec", "a%2Fb&c=d");
    // As the SDKs write it: each part quoted, the whole quoted, and quoted again in the query.
    for (filter, expected) in [
        ("shared%3Dx%252520y", 3),
        (&*format!("note%3D{SECRET_OF_A}"), 2),
        (&*format!("note%3D{SECRET_OF_B}"), 0),
        ("note%3Da%2525252Fb%252526c%25253Dd", 1),
        ("shared%3Dx%252520y%26note%3Dnobodys", 0),
    ] {
        for path in ["/sandboxes", "/v2/sandboxes"] {
            world.simulator.clear_requests();
            let query = format!("{path}?limit=50&metadata={filter}&order=desc&x=%7E%2f");
            let answer = world.ask("read", Ask::get(&query));
            let listed = id_set(&answer);
            assert_eq!(listed.len(), expected, "{query}: {}", answer.text());
            assert!(listed.iter().all(|id| of_a.contains(id) || *id == note));
            let sent = format!(
                "{path}?limit=50&metadata={filter}%26coppice_tenant_id%3Dteam-a&order=desc&x=%7E%2f"
            );
            assert_eq!(forwarded(&world)[0].path, sent, "all else keeps its bytes");
        }
    }
}

#[test]
fn no_filter_shows_another_tenants_sandboxes() {
    let [filters, ignores] = worlds();
    for world in [&filters, &ignores] {
        let (of_a, _) = populate(world, 3);
        for query in [
            "metadata=coppice_tenant_id%3Dteam-b",
            "metadata=coppice_tenant_id=team-b",
            "metadata=coppice_tenant_id%253Dteam-b",
            "metadata=coppice%5Ftenant%5Fid%3Dteam-b",
            "metadata=coppice%255Ftenant_id%3Dteam-b",
            "metadata=coppice%25255Ftenant_id%253Dteam-b",
            "metadata=%63oppice_tenant_id%3Dteam%2Db",
            "metadata=shared%3Dx%252520y%26coppice_tenant_id%3Dteam-b",
            "metadata=shared%3Dx%252520y%2526coppice_tenant_id%253Dteam-b",
            "metadata=COPPICE_TENANT_ID%3Dteam-b",
            "metadata=coppice_tenant_id%3Dteam-b&metadata=coppice_tenant_id%3Dteam-b",
            "metadata=shared%3Dx%252520y&metadata=coppice_tenant_id%3Dteam-b",
            "Metadata=coppice_tenant_id%3Dteam-b",
            "METADATA=coppice_tenant_id%3Dteam-b&metadata=a%3Db",
            "metadata[coppice_tenant_id]=team-b",
            "metadata[]=coppice_tenant_id%3Dteam-b",
            "metadata=%zz",
            "metadata=a%3Db;c",
            "metadata=a%3Db%26",
            "metadata=%26",
            "metadata=",
            "metadata",
            "metadata=x",
            "x=1;metadata=coppice_tenant_id%3Dteam-b",
            "coppice_tenant_id=team-b",
            "limit=1",
            "limit=100&metadata=note%3Dsecret-of-b",
            "metadata=note%3Dsecret-of-b%2526",
        ] {
            for path in ["/sandboxes", "/v2/sandboxes"] {
                let answer = world.ask("read", Ask::get(&format!("{path}?{query}")));
                assert!(!answer.text().contains(SECRET_OF_B), "{query}: {}", answer.text());
                match answer.status {
                    200 => assert!(ids(&answer).iter().all(|id| of_a.contains(id)), "{query}"),
                    400 => {}
                    status => panic!("{status} for {query}: {}", answer.text()),
                }
                if let Some(total) = answer.header("x-total-running") {
                    assert!(total.parse::<usize>().unwrap() <= 3, "{query} tells {total}");
                }
            }
        }
    }
}

#[test]
fn the_marker_is_no_metadata_to_filter_by() {
    let world = World::new();
    populate(&world, 2);
    world.simulator.clear_requests();
    for tenant in ["team-a", "team-b", "nobody"] {
        for path in ["/sandboxes", "/v2/sandboxes"] {
            let query = format!("{path}?metadata=coppice_tenant_id%3D{tenant}");
            let answer = world.ask("read", Ask::get(&query));
            assert_eq!((answer.status, answer.text().as_str()), (200, "[]"), "{query}");
            assert_ne!(answer.header("x-total-running").unwrap_or("0"), "2", "{query}");
        }
    }
    assert!(world.simulator.requests().is_empty(), "there is nothing to ask");
    let admin = world.ask("admin", Ask::get("/sandboxes?metadata=coppice_tenant_id%3Dteam-b"));
    assert_eq!(ids(&admin).len(), 2);
}

#[test]
fn what_can_be_read_in_two_ways_is_refused_before_anything_is_asked() {
    let world = World::new();
    world.simulator.clear_requests();
    for path in [
        "/v2/sandboxes?metadata=a%3Db&metadata=c%3Dd",
        "/v2/sandboxes?Metadata=a%3Db",
        "/sandboxes?metadata=a;b",
        "/sandboxes?metadata=%zz",
        "/sandboxes/metrics?Sandbox_IDs=i1",
        "/sandboxes/metrics?x;sandbox_ids=i1",
        "/snapshots?sandboxId=i1",
    ] {
        let answer = world.ask("read", Ask::get(path));
        assert_eq!((answer.status, answer.code().as_str()), (400, "bad_filter"), "{path}");
    }
    assert!(world.simulator.requests().is_empty());
}
