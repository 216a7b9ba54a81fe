//! Settings about tenants and their limits.

use super::given;
use crate::config::{QuotaStatus, ReservedName};
use crate::principal::TenantId;

const KEYED: (&str, &str) = ("COPPICE_API_KEYS", "team-a:k:read");

#[test]
fn limits_come_from_a_text_or_an_array() {
    let team_a = TenantId::parse("team-a").unwrap();
    let other = TenantId::parse("other").unwrap();
    let variables = [
        KEYED,
        ("COPPICE_TENANT_SANDBOX_LIMITS", "team-a=2\nteam-b=10"),
        ("COPPICE_TENANT_MAX_SANDBOXES", "8"),
        ("COPPICE_QUOTA_STATUS", "429"),
    ];
    let file = "[tenants]\nsandbox_limits = ['team-a=2', 'team-b=10']\nmax_sandboxes = 8\n[quota]\nstatus = 429\n";
    for given in [given(&variables), given(&[KEYED]).toml(file)] {
        let loaded = given.loads();
        let tenants = loaded.settings.tenants;
        assert_eq!((tenants.limits.of(&team_a), tenants.limits.of(&other)), (Some(2), Some(8)));
        assert_eq!(tenants.quota_status, QuotaStatus::TooManyRequests);
        assert!(!loaded.warnings.iter().any(|warning| warning.contains("limits")));
    }
}

#[test]
fn bad_limits_are_told_under_the_spelling_used() {
    for (variable, value, said) in [
        ("COPPICE_TENANT_SANDBOX_LIMITS", ",", "holds no entry; write TENANT=N"),
        ("COPPICE_TENANT_SANDBOX_LIMITS", "a=1,a=2", "entry 2 (tenant a): has a limit already"),
        ("COPPICE_TENANT_MAX_SANDBOXES", "-1", "the limit is no whole number from 0 to 4294967295"),
        (
            "COPPICE_TENANT_MAX_SANDBOXES",
            "abc",
            "the limit is no whole number from 0 to 4294967295",
        ),
        ("COPPICE_QUOTA_STATUS", "402", "'402' is neither 403 nor 429"),
        ("COPPICE_TENANT_ISOLATION", "maybe", "'maybe' is neither on nor off"),
    ] {
        assert_eq!(given(&[(variable, value)]).problems(), [format!("{variable}: {said}")]);
    }
}

#[test]
fn limits_without_keys_are_remarked_on() {
    for (name, value) in
        [("COPPICE_TENANT_MAX_SANDBOXES", "0"), ("COPPICE_TENANT_SANDBOX_LIMITS", "a=1")]
    {
        let warnings = given(&[(name, value)]).loads().warnings;
        let remark = format!("{name}: limits nobody, since the gateway is open");
        assert!(warnings.contains(&remark), "{warnings:?}");
    }
}

#[test]
fn missing_isolation_is_remarked_on() {
    let remark = "COPPICE_TENANT_ISOLATION: tenants are only labelled: every key reaches the sandboxes of all of them";
    for (variables, is_said) in [
        (&[KEYED, ("COPPICE_TENANT_ISOLATION", "off")][..], true),
        (&[KEYED, ("COPPICE_TENANT_ISOLATION", "on")], false),
        (&[KEYED], false),
        (&[("COPPICE_TENANT_ISOLATION", "off")], false),
    ] {
        let warnings = given(variables).loads().warnings;
        assert_eq!(warnings.iter().any(|warning| warning == remark), is_said, "{warnings:?}");
    }
}

#[test]
fn reserved_names_may_be_prefixes() {
    let given = given(&[]).flag("metadata-reserved", "host-mount, acme.*");
    assert_eq!(
        given.loads().settings.tenants.metadata_reserved,
        [ReservedName::Exact("host-mount".into()), ReservedName::Prefix("acme.".into())]
    );
    for bad in ["*", "a*b", "a b", "ä"] {
        let problems = super::given(&[("COPPICE_METADATA_RESERVED", bad)]).problems();
        assert!(problems[0].starts_with("COPPICE_METADATA_RESERVED: '"), "{bad}: {problems:?}");
    }
}

#[test]
fn isolation_and_the_marker_can_be_switched() {
    let given = given(&[("COPPICE_TENANT_ISOLATION", "off"), ("COPPICE_TENANTS_SHOW_MARKER", "0")]);
    let tenants = given.loads().settings.tenants;
    assert!(!tenants.isolation && !tenants.show_marker);
}
