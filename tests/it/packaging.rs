//! The files that start the gateway as a service: what they name exists, and what they promise fits the program.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use coppice_gateway::config::SETTINGS;

use crate::support::Program;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(path)).unwrap()
}

/// The values of a key in a unit file.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    let lines = unit.lines().filter_map(|line| line.split_once('='));
    lines.filter(|(own, _)| *own == key).map(|(_, value)| value).collect()
}

/// Every variable of ours that a text names.
fn variables(text: &str) -> Vec<&str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("COPPICE_"))
        .collect()
}

#[test]
fn services_name_only_variables_that_exist() {
    let known = |name: &str| {
        SETTINGS.iter().any(|setting| {
            setting.env == name || setting.file_form().is_some_and(|form| form.env == name)
        })
    };
    for (file, least) in [
        ("systemd/coppice-gateway.service", 1),
        ("systemd/credentials.conf", 2),
        ("rc.d/coppice_gateway", 1),
        ("environment.example", 5),
    ] {
        let text = read(file);
        let named = variables(&text);
        assert!(named.len() >= least, "{file} names {named:?}");
        for name in named {
            assert!(known(name), "{file}: {name}");
        }
    }
}

#[test]
fn the_example_environment_works_with_every_line_in_force() {
    let mut program = Program::new();
    let mut seen = 0;
    for line in read("environment.example").lines() {
        let Some(line) = line.strip_prefix('#').filter(|line| line.starts_with("COPPICE_")) else {
            continue;
        };
        let (name, value) = line.split_once("='").unwrap();
        let value = value.strip_suffix('\'').unwrap();
        let value = if value.starts_with("/etc/") {
            let keys = format!("team-b:sha256:{}:read\n", "1".repeat(64));
            let text = if name == "COPPICE_API_KEYS_FILE" { keys } else { "x".repeat(64) };
            program.file(name, &text).to_str().unwrap().to_owned()
        } else {
            value.to_owned()
        };
        program = program.env(name, &value);
        seen += 1;
    }
    assert!(seen >= 5);
    let ended = program.run(&["check"]);
    assert_eq!((ended.code, &*ended.err), (0, ""), "{ended:?}");
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

#[test]
fn the_rc_script_hands_the_gateway_its_settings() {
    let home = tempfile::tempdir().unwrap();
    let stub = home.path().join("rc.subr");
    // In place of FreeBSD's own: what is in rc.conf, and what would be run.
    fs::write(
        &stub,
        r#"
        load_rc_config() { coppice_gateway_config=/elsewhere/gateway.toml; }
        run_rc_command() {
            eval "cmd=\$${1}_cmd"
            eval "before=\$${1}_precmd"
            $before
            if [ -n "$cmd" ]; then $cmd; else echo "$command $command_args"; fi
        }
        su() { echo "as $2: $4"; }
        install() { echo "install $*"; }
        "#,
    )
    .unwrap();
    let script = read("rc.d/coppice_gateway").replace("/etc/rc.subr", stub.to_str().unwrap());
    let path = home.path().join("coppice_gateway");
    fs::write(&path, script).unwrap();
    let run = |command: &str| {
        let output = Command::new("sh").arg(&path).arg(command).output().unwrap();
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
        String::from_utf8(output.stdout).unwrap()
    };
    let start = run("start");
    let (prepared, start) = start.trim_end().rsplit_once('\n').unwrap();
    let owned =
        "install -d -o coppice_gateway -m 0700 /var/db/coppice-gateway /var/log/coppice-gateway";
    assert!(prepared.lines().any(|line| line == owned), "{prepared}");
    let (daemon, gateway) =
        start.trim_end().split_once(" /usr/local/bin/coppice-gateway ").unwrap();
    assert!(daemon.starts_with("/usr/sbin/daemon ") && daemon.contains(" -p "), "{daemon}");
    assert_eq!(gateway, "serve --config /elsewhere/gateway.toml");
    assert_eq!(
        run("check").trim_end(),
        "as coppice_gateway: /usr/local/bin/coppice-gateway check --config /elsewhere/gateway.toml"
    );
}
