//! What principals, tenants and scopes are held to.

use std::sync::Arc;

use super::*;

#[test]
fn implication_is_a_chain() {
    let table = [
        (Scope::Read, "read"),
        (Scope::Exec, "exec|read"),
        (Scope::Owner, "exec|owner|read"),
        (Scope::Admin, "admin|exec|owner|read"),
    ];
    for (granted, effective) in table {
        let set = Scopes::default().with(granted);
        assert_eq!(set.to_string(), granted.name());
        assert_eq!(set.effective().to_string(), effective);
    }
    assert!(Scope::ALL.iter().all(|scope| !Scopes::default().allows(*scope)));
}

#[test]
fn sets_are_told_by_their_names() {
    for bits in 0..16_u8 {
        let scopes = Scope::ALL.into_iter().filter(|scope| bits >> *scope as u8 & 1 == 1);
        let set: Scopes = scopes.collect();
        assert_eq!((set.bits(), set.label()), (bits, &*set.names().collect::<Vec<_>>().join("|")));
    }
}

#[test]
fn scope_names_are_exact() {
    for text in ["", "Read", "ADMIN", "write", " read", "read "] {
        assert!(text.parse::<Scope>().is_err(), "{text:?}");
    }
    assert_eq!("owner".parse(), Ok(Scope::Owner));
}

#[test]
fn names_of_any_kind_can_be_vouched_for() {
    for (name, said) in [(Some("ci"), "ci"), (Some("Zoë 100%"), "Zo%C3%AB%20100%25"), (None, "k1")]
    {
        let principal = Principal {
            tenant: TenantId::parse("team-a").unwrap(),
            name: name.map(Into::into),
            key: KeyId::new("k1"),
            scopes: Scopes::default().with(Scope::Exec).with(Scope::Admin),
            not_before: None,
            expires: None,
            max_sandboxes: None,
            source: Source::Static,
            revocation: Revocation::Notice(Arc::default()),
        };
        let Vouched { tenant, name, scopes } = principal.vouched();
        assert_eq!([tenant, &name, scopes], ["team-a", said, "admin|exec"]);
    }
}

#[test]
fn tenants_fit_every_list() {
    for text in ["team-a", "a", "A.b_c/d@e", &"x".repeat(128)] {
        assert!(TenantId::parse(text).is_ok(), "{text:?}");
    }
    for (text, why) in [
        ("", BadTenant::Empty),
        ("*", BadTenant::Wildcard),
        (&*"x".repeat(129), BadTenant::TooLong),
        ("a:b", BadTenant::Character),
        ("a,b", BadTenant::Character),
        ("a=b", BadTenant::Character),
        ("a|b", BadTenant::Character),
        ("a b", BadTenant::Character),
        ("a\n", BadTenant::Character),
        ("ä", BadTenant::Character),
    ] {
        assert_eq!(TenantId::parse(text), Err(why), "{text:?}");
    }
}
