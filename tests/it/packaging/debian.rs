//! What is written twice for Debian's sake says the same. `tests/packages/deb` installs the package.

use super::{file, read};

#[test]
fn the_package_has_the_programs_version() {
    let changelog = read("debian/changelog");
    let newest = format!("coppice-gateway ({}-1) ", env!("CARGO_PKG_VERSION"));
    assert!(changelog.starts_with(&newest), "{changelog}");
}

#[test]
fn a_purge_leaves_nothing_of_what_the_service_may_write() {
    let (unit, purge) = (read("systemd/coppice-gateway.service"), read("debian/postrm"));
    for (key, parent) in [("StateDirectory", "/var/lib"), ("LogsDirectory", "/var/log")] {
        let name = unit.lines().find_map(|line| line.strip_prefix(&format!("{key}="))).unwrap();
        assert!(purge.contains(&format!(" {parent}/{name}")), "{parent}/{name}");
    }
}

#[test]
fn every_unit_and_example_is_in_the_package() {
    let manifest = file("Cargo.toml");
    for path in [
        "config/systemd/coppice-gateway.service",
        "config/systemd/*.socket",
        "config/systemd/coppice-gateway.sysusers.conf",
        "config/systemd/coppice-gateway.tmpfiles.conf",
        "config/systemd/credentials.conf",
        "config/gateway.example.toml",
        "config/environment.example",
    ] {
        assert!(manifest.contains(&format!("[\"{path}\", ")), "{path}");
    }
}
