//! The systemd units, as systemd itself reads them. `tests/packages/deb` runs them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use coppice_gateway::config::SETTINGS;
use tempfile::TempDir;

use super::{installed, read};
use crate::support::Program;

/// How exposed systemd may find the service, of 10.
const EXPOSURE: f64 = 1.5;

const SOCKETS: [(&str, &str); 3] =
    [("api", "server.listen"), ("envd", "server.envd_listen"), ("ops", "server.ops_listen")];

/// The values of a key in a unit file.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    let lines = unit.lines().filter_map(|line| line.split_once('='));
    lines.filter(|(own, _)| *own == key).map(|(_, value)| value).collect()
}

/// The units, beside the program under test in place of the installed one.
fn units() -> (TempDir, Vec<PathBuf>) {
    let home = tempfile::tempdir().unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/systemd");
    let mut units = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !name.ends_with(".service") && !name.ends_with(".socket") {
            continue;
        }
        let start = format!("ExecStart={}", env!("CARGO_BIN_EXE_coppice-gateway"));
        let text = read(&format!("systemd/{name}")).replace("ExecStart=coppice-gateway", &start);
        units.push(home.path().join(&name));
        fs::write(home.path().join(&name), text).unwrap();
    }
    assert_eq!(units.len(), 4, "{units:?}");
    (home, units)
}

#[test]
fn systemd_has_nothing_against_the_units() {
    let (_home, units) = units();
    let verified = installed("systemd-analyze", |command| {
        command.args(["verify", "--man=no"]).args(&units);
    });
    let said = String::from_utf8(verified.stderr).unwrap();
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("coppice")).collect();
    assert!(verified.status.success() && ours.is_empty(), "{said}");
}

#[test]
fn systemd_finds_the_service_confined() {
    let (_home, units) = units();
    let service = units.iter().find(|unit| unit.extension().unwrap() == "service").unwrap();
    let judged = installed("systemd-analyze", |command| {
        command.args(["security", "--no-pager", "--offline=true"]).arg(service);
    });
    let said = String::from_utf8(judged.stdout).unwrap();
    let (_, overall) = said.split_once("Overall exposure level").expect(&said);
    let (_, score) = overall.lines().next().unwrap().split_once(": ").unwrap();
    let score: f64 = score.split(' ').next().unwrap().parse().unwrap();
    assert!(score <= EXPOSURE, "{said}");
}

#[test]
fn sockets_are_named_for_the_listeners_that_they_stand_for() {
    let mut addresses = Vec::new();
    for (name, key) in SOCKETS {
        let unit = read(&format!("systemd/coppice-gateway-{name}.socket"));
        assert_eq!(values(&unit, "FileDescriptorName"), [name]);
        assert_eq!(values(&unit, "Service"), ["coppice-gateway.service"]);
        assert!(unit.contains(key), "{name} does not say that it stands for {key}");
        let [address] = values(&unit, "ListenStream")[..] else { panic!("{unit}") };
        addresses.push(address.to_owned());
    }
    let listen = SETTINGS.iter().find(|setting| setting.key == "server.listen").unwrap();
    assert_eq!(addresses[0], listen.default.unwrap());
    assert!(addresses.iter().all(|address| address.starts_with("127.0.0.1:")), "{addresses:?}");
}

#[test]
fn the_unit_waits_for_streams_and_gives_up_on_a_bad_configuration() {
    let unit = read("systemd/coppice-gateway.service");

    let bad = Program::new().env("COPPICE_UPSTREAM", "").run(&["serve"]).code.to_string();
    let hopeless = values(&unit, "RestartPreventExitStatus").join(" ");
    assert!(hopeless.split(' ').any(|code| code == bad), "{bad} is not in {hopeless}");

    let seconds =
        |text: &str| Duration::from_secs(text.strip_suffix('s').unwrap().parse().unwrap());
    let drain = SETTINGS.iter().find(|setting| setting.key == "server.drain_timeout").unwrap();
    let [stop] = values(&unit, "TimeoutStopSec")[..] else { panic!("not one TimeoutStopSec") };
    assert!(seconds(stop) > seconds(drain.default.unwrap()));
}

#[test]
fn the_example_journal_lies_where_the_services_let_the_gateway_write() {
    let [unit, script, example] =
        ["systemd/coppice-gateway.service", "rc.d/coppice_gateway", "environment.example"]
            .map(read);
    let (_, journal) = example.split_once("#COPPICE_AUDIT_LOG='").unwrap();
    let (directory, _) = journal.split_once('\'').unwrap().0.rsplit_once('/').unwrap();
    // Everything else is read-only, but for what systemd makes for the unit.
    assert_eq!(values(&unit, "ProtectSystem"), ["strict"]);
    let [logs] = values(&unit, "LogsDirectory")[..] else { panic!("not one LogsDirectory") };
    assert_eq!(format!("/var/log/{logs}"), directory);
    assert_eq!(values(&unit, "LogsDirectoryMode"), ["0700"]);
    assert!(script.contains(&format!("coppice_gateway_log_dir:={directory}}}")));
}
