//! The FreeBSD service: the rc.d script under a stand-in for FreeBSD's own shell library, and what goes with it.

use std::fs;
use std::process::{Command, Output};

use tempfile::TempDir;

use super::read;

/// What stands in for FreeBSD: what is in rc.conf, and what would be run. `before` comes first. A gateway that was told to
/// starts $HEIR, and has ended at the first look if it $ENDS; a stranger's gateway is 300.
const RC_SUBR: &str = r#"
    load_rc_config() { coppice_gateway_config=/elsewhere/gateway.toml; eval "$RC_CONF"; }
    run_rc_command() {
        rc_pid=$RC_PID
        eval "cmd=\$${1}_cmd"
        eval "before=\$${1}_precmd"
        $before || exit 1
        if [ -n "$cmd" ]; then $cmd; else echo "$command $command_args"; fi
    }
    su() { echo "as $2: $4"; return "${CHECKED:-0}"; }
    install() { echo "install $*"; }
    warn() { echo "warning: $*"; }
    kill() { echo "kill $*"; told=yes; }
    sleep() { slept=yes; }
    lives() { [ "$ENDS $slept" != "yes yes" ]; }
    pgrep() {
        case "$* " in
        *"-P 100 "*) lives && heir ;;
        *"-u coppice_gateway "*"^/usr/local/bin/coppice-gateway serve "*) echo 300; lives && echo 100; heir ;;
        esac
    }
    heir() { [ -z "$told" ] || echo "$HEIR"; }
    sockstat() {
        for pid in 300 $LISTENS; do
            echo "coppice_gateway coppice-gateway $pid 9 tcp4 127.0.0.1:3000 *:*"
        done
    }
"#;

/// The script, for one FreeBSD.
struct Service {
    home: TempDir,
    variables: Vec<(&'static str, &'static str)>,
}

impl Service {
    fn new(variables: &[(&'static str, &'static str)]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
        fs::write(path("rc.subr"), RC_SUBR).unwrap();
        fs::write(path("coppice-gateway.pid"), "100").unwrap();
        let script = read("rc.d/coppice_gateway")
            .replace("/etc/rc.subr", &path("rc.subr"))
            .replace("rundir=\"/var/run/coppice-gateway\"", &format!("rundir=\"{}\"", path("")));
        fs::write(path("script"), script).unwrap();
        Self { home, variables: variables.to_vec() }
    }

    fn run(&self, command: &str) -> (Output, String) {
        let mut shell = Command::new("sh");
        shell.arg(self.home.path().join("script")).arg(command);
        let output = shell.envs(self.variables.iter().copied()).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        let said = String::from_utf8(output.stdout.clone()).unwrap();
        (output, said)
    }

    fn pid(&self) -> String {
        fs::read_to_string(self.home.path().join("coppice-gateway.pid")).unwrap().trim().to_owned()
    }
}

#[test]
fn the_rc_script_hands_the_gateway_its_settings() {
    let (_, start) = Service::new(&[]).run("start");
    let (prepared, start) = start.trim_end().rsplit_once('\n').unwrap();
    let owned =
        "install -d -o coppice_gateway -m 0700 /var/db/coppice-gateway /var/log/coppice-gateway";
    assert!(prepared.lines().any(|line| line == owned), "{prepared}");
    let (daemon, gateway) = start.split_once(" /usr/local/bin/coppice-gateway ").unwrap();
    assert!(daemon.starts_with("/usr/sbin/daemon ") && daemon.contains(" -p "), "{daemon}");
    assert_eq!(gateway, "serve --config /elsewhere/gateway.toml");
}

#[test]
fn settings_are_checked_as_the_account_before_anything_is_touched() {
    let check =
        "as coppice_gateway: /usr/local/bin/coppice-gateway check --config /elsewhere/gateway.toml";
    let (_, said) = Service::new(&[]).run("checkconfig");
    assert_eq!(said.trim_end(), check);
    for command in ["reload", "restart", "upgrade"] {
        let (output, said) = Service::new(&[("CHECKED", "78"), ("RC_PID", "100")]).run(command);
        assert_eq!((output.status.success(), said.trim_end()), (false, check), "{command}");
    }
}

#[test]
fn after_an_upgrade_the_pid_file_names_the_new_gateway() {
    // With streams the old one goes on; without any it is gone as soon as it was told.
    for ends in ["no", "yes"] {
        let variables = [("RC_PID", "100"), ("HEIR", "200"), ("LISTENS", "200"), ("ENDS", ends)];
        let service = Service::new(&variables);
        let (output, said) = service.run("upgrade");
        assert!(output.status.success() && said.contains("kill -USR2 100"), "{said}");
        assert_eq!(service.pid(), "200", "{said}");
    }
}

#[test]
fn an_upgrade_that_fails_leaves_the_old_gateway_in_charge() {
    // It is gone, or it is not seen to listen; it never takes over; or the supervisor would get in the way.
    for (variables, asked) in [
        (&[("RC_PID", "100"), ("HEIR", ""), ("LISTENS", "100")][..], true),
        (&[("RC_PID", "100"), ("HEIR", "200"), ("LISTENS", "")], true),
        (&[("RC_PID", "100"), ("HEIR", "200"), ("LISTENS", "100")], true),
        (&[("RC_PID", "100"), ("HEIR", "200"), ("LISTENS", "100 200")], true),
        (&[("RC_PID", "100"), ("RC_CONF", "coppice_gateway_flags='-r -R 2'")], false),
        (&[("RC_PID", "")], false),
    ] {
        let service = Service::new(variables);
        let (output, said) = service.run("upgrade");
        assert!(!output.status.success() && said.contains("warning: "), "{said}");
        assert_eq!(said.contains("kill -USR2 100"), asked, "{said}");
        assert_eq!(service.pid(), "100");
    }
}

#[test]
fn newsyslog_tells_the_gateway_that_the_service_started() {
    let script = read("rc.d/coppice_gateway");
    let newsyslog = read("newsyslog/coppice_gateway.conf");
    let line = newsyslog.lines().find(|line| line.starts_with('/')).unwrap();
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [journal, owner, mode, _, _, _, flags, pid, signal] = fields[..] else { panic!("{line}") };
    assert!(script.contains(&format!("log_dir:={}}}", journal.rsplit_once('/').unwrap().0)));
    assert_eq!((owner, mode), ("coppice_gateway:coppice_gateway", "600"));
    let (folder, name) = pid.rsplit_once('/').unwrap();
    assert!(script.contains(&format!("rundir=\"{folder}\"\npidfile=\"$rundir/{name}\"")), "{pid}");
    // B: nothing but the gateway's lines is ever in the journal. 1 is SIGHUP.
    assert_eq!((flags, signal), ("B", "1"));
}
