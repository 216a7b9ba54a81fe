//! Metadata that means more to an upstream than a note: who may set it.

use serde_json::json;

use crate::support::{Ask, World};

#[test]
fn only_an_admin_may_mount_a_directory_of_the_host() {
    let world = World::new();
    for path in ["/sandboxes", "/v2/sandboxes"] {
        for name in ["host-mount", "Host-Mount", r"\u0068ost-mount"] {
            for role in ["exec", "owner", "admin"] {
                world.simulator.clear_requests();
                let body = format!(
                    r#"{{"templateID":"base","metadata":{{"{name}":"[]","mine":"kept"}}}}"#
                );
                world.ask(role, Ask::post(path, body));
                let seen = &world.simulator.requests()[0];
                let body: serde_json::Value = serde_json::from_slice(&seen.body).unwrap();
                let mut expected = json!({"mine": "kept", "coppice_tenant_id": "team-a"});
                if role == "admin" {
                    expected[name.replace(r"\u0068", "h")] = "[]".into();
                }
                assert_eq!(body["metadata"], expected, "{role} {path} {name}");
            }
        }
    }
}
