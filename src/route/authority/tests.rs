//! Hosts, domains and ports: what they are taken for, and what is refused.

use proptest::prelude::*;

use super::*;

fn kind(host: &str, domain: &str) -> Result<HostKind, BadAuthority> {
    let domain = Domain::parse(domain).unwrap();
    Authority::parse(host).and_then(|host| host.classify(Some(&domain)))
}

fn sandbox(port: u16, id: &str) -> Result<HostKind, BadAuthority> {
    Ok(HostKind::Sandbox(Target { sandbox: SandboxId::parse(id).unwrap(), port }))
}

#[test]
fn ports_are_plain_decimal() {
    for (text, port) in [("1", 1), ("80", 80), ("49983", 49983), ("65535", 65535)] {
        assert_eq!(parse_port(text), Some(port));
    }
    for text in [
        "", "0", "65536", "70000", "+80", "-80", "080", "0080", " 80", "80 ", "8_0", "0x50", "８０",
    ] {
        assert_eq!(parse_port(text), None, "{text:?}");
    }
}

#[test]
fn classifies_hosts_under_the_domain() {
    use HostKind::*;
    for (host, expected) in [
        ("49983-abc.example.com", sandbox(49983, "abc")),
        ("49983-abc.example.com:8443", sandbox(49983, "abc")),
        ("49983-abc.EXAMPLE.com", sandbox(49983, "abc")),
        ("49983-abc-client1.example.com", sandbox(49983, "abc-client1")),
        ("80-0b6e3c1e-9a53-4c3b.example.com", sandbox(80, "0b6e3c1e-9a53-4c3b")),
        ("sandbox.example.com", Ok(Shared)),
        ("SANDBOX.example.com:443", Ok(Shared)),
        ("api.example.com", Ok(Other)),
        ("example.com", Ok(Other)),
        ("www.example.com", Ok(Other)),
        ("my-host.example.com", Ok(Other)),
        ("3d-models.example.com", Ok(Other)),
        ("49983.example.com", Ok(Other)),
        ("49983-abc.sub.example.com", Ok(Other)),
        ("49983-abc.other.com", Ok(Other)),
        ("49983-abcexample.com", Ok(Other)),
        ("49983-abc.notexample.com", Ok(Other)),
        ("sandbox.example.com.evil.org", Ok(Other)),
        ("127.0.0.1", Ok(Local)),
        ("127.0.0.1:3000", Ok(Local)),
        ("[::1]:3000", Ok(Local)),
        ("[2001:db8::1]", Ok(Local)),
        ("localhost", Ok(Local)),
        ("LocalHost:3000", Ok(Local)),
        ("127.1", Ok(Other)),
        ("049983-abc.example.com", Err(BadAuthority::SandboxLabel)),
        ("70000-x.example.com", Err(BadAuthority::SandboxLabel)),
        ("65536-x.example.com", Err(BadAuthority::SandboxLabel)),
        ("0-x.example.com", Err(BadAuthority::SandboxLabel)),
        ("49983-.example.com", Err(BadAuthority::SandboxLabel)),
        ("49983--abc.example.com", Err(BadAuthority::SandboxLabel)),
        ("-abc.example.com", Err(BadAuthority::SandboxLabel)),
        ("99999999999999999999-x.example.com", Err(BadAuthority::SandboxLabel)),
        ("+80-x.example.com", Err(BadAuthority::Malformed)),
        ("49983-a%2fb.example.com", Err(BadAuthority::Malformed)),
    ] {
        assert_eq!(kind(host, "example.com"), expected, "{host:?}");
    }
    assert_eq!(kind("49983-abc.localhost:3000", "localhost"), sandbox(49983, "abc"));
    assert_eq!(kind("localhost:3000", "localhost"), Ok(Local));
}

#[test]
fn without_a_domain_no_name_is_a_sandbox() {
    for host in ["49983-abc.example.com", "sandbox.example.com", "049983-abc.x"] {
        assert_eq!(Authority::parse(host).unwrap().classify(None), Ok(HostKind::Other), "{host:?}");
    }
}

#[test]
fn refuses_hosts_with_two_readings() {
    use BadAuthority::*;
    for (host, why) in [
        ("", Empty),
        (":3000", Empty),
        ("user@host", Malformed),
        ("user:pw@host", Port),
        ("a,b", Malformed),
        ("a b", Malformed),
        (" host", Malformed),
        ("host\t", Malformed),
        ("host.", Malformed),
        (".host", Malformed),
        ("a..b", Malformed),
        ("höst", Malformed),
        ("host/path", Malformed),
        ("host?x", Malformed),
        ("host%2e", Malformed),
        ("host\\x", Malformed),
        ("::1", Empty),
        ("fe80::1", Port),
        ("[::1", Malformed),
        ("[::1]3000", Malformed),
        ("[fe80::1%25eth0]", Malformed),
        ("[v1.x]", Malformed),
        ("[127.0.0.1]", Malformed),
        ("[]", Malformed),
        ("host:", Port),
        ("host:0", Port),
        ("host:080", Port),
        ("host:65536", Port),
        ("host:80:80", Port),
        ("host:+80", Port),
        ("127.0.0.1:", Port),
    ] {
        assert_eq!(Authority::parse(host), Err(why), "{host:?}");
    }
    assert_eq!(Authority::parse(&"a".repeat(254)), Err(Malformed));
    assert_eq!(Authority::parse("host:8443").unwrap().port(), Some(8443));
    assert_eq!(Authority::parse("host").unwrap().port(), None);
}

#[test]
fn domains_are_plain_names() {
    for text in ["example.com", "coppice.lan", "localhost", "a_b.c-d"] {
        assert_eq!(Domain::parse(text).unwrap().as_str(), text);
    }
    assert_eq!(Domain::parse("Example.COM").unwrap().as_str(), "example.com");
    for text in [
        "",
        ".",
        ".example.com",
        "example.com.",
        "*.example.com",
        "example.com:443",
        "10.0.0.1",
        "[::1]",
    ] {
        assert_eq!(Domain::parse(text), Err(BadDomain), "{text:?}");
    }
}

proptest! {
    /// Whatever label stands under the domain: a sandbox is found only where rebuilding the host gives it back.
    #[test]
    fn sandbox_labels_are_read_in_one_way(label in "[0-9+-]{0,3}-?[a-zA-Z0-9_.-]{0,8}") {
        let host = format!("{label}.example.com");
        if let Ok(HostKind::Sandbox(target)) = kind(&host, "example.com") {
            prop_assert_eq!(format!("{}-{}.example.com", target.port, target.sandbox), host);
        }
    }

    #[test]
    fn never_panics(host in "\\PC{0,24}") {
        let domain = Domain::parse("a.b").unwrap();
        let _ = Authority::parse(&host).and_then(|host| host.classify(Some(&domain)));
    }
}
