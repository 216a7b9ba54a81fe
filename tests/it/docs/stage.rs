//! The world of one page: what its commands find when they are run.
//!
//! Network, processes, `/etc`, `/var` and `/run` are the page's own and vanish with it, so that every page may use the
//! ports and the paths that a reader would. There is always the program, in `PATH`. What a page asks for, in
//! `<!-- stage: WORD, WORD -->` below its title, comes on top:
//!
//! | word | what there is |
//! |---|---|
//! | `upstream` | a sandbox API on port 3100 and its sandboxes on port 3002; `upstream-api-key` has its key |
//! | `cube` | the same, which behaves as Cube does |
//! | `gateway` | the settings of `docs/install/README.md` in `/etc/coppice-gateway`, an upstream, and a gateway that runs with them as a service; keys in `$KEY`, `$READ_KEY`, `$OWNER_KEY`, `$ADMIN_KEY`, `$OTHER_KEY` |
//! | `names` | DNS for `*.sandboxes.example.com`, and a certificate that everybody trusts |
//! | `sdk` | E2B's Python SDK |
//! | `callback` | what the auth service of the examples runs on |
//! | `caddy` | Caddy |
//! | `ssh` | the commands run on another machine, which has an account on `sandbox-host`, where all the rest is |

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use coppice_gateway::simulator::{Options, Simulator};

use super::book::Page;
use super::names;
use super::shell::Script;
use crate::support::authority::Authority;
use crate::support::client::clients;
use crate::support::wait::{PATIENCE, eventually, within};
use crate::support::world::{UPSTREAM_KEY, key};

/// Longest that a page may take.
const LIMIT: Duration = Duration::from_secs(300);

/// Where settings and keys are, as the pages have it.
const ETC: &str = "/etc/coppice-gateway";

/// What stands in for programs of the system. A service manager: the log and the signals of the one gateway there is. And
/// curl: itself, which comes back when what was asked is accounted for, so that what a page looks at next is there.
const STAND_INS: [(&str, &str); 3] = [
    ("journalctl", "#!/bin/sh\nexec cat /var/log/coppice-gateway.stderr\n"),
    (
        "systemctl",
        "#!/bin/sh\n\
         case \"$1 $2\" in\n\
         'reload coppice-gateway') exec kill -HUP \"$(cat /run/coppice-gateway.pid)\" ;;\n\
         'stop coppice-gateway') process=$(cat /run/coppice-gateway.pid); kill -TERM \"$process\"\n\
         # Of one that nobody waits for the process id stays, and the rest goes.\n\
         while [ -e \"/proc/$process/exe\" ]; do sleep 0.05; done ;;\n\
         'kill --kill-whom=main') process=$(cat /run/coppice-gateway.pid); kill \"-${3#--signal=}\" \"$process\"\n\
         [ \"$3\" = --signal=USR2 ] || exit 0\n\
         heir=$process\n\
         while [ \"$heir\" = \"$process\" ]; do\n\
         sleep 0.05\n\
         heir=$(jq -r 'select(.message | startswith(\"replaced\")).process' /var/log/coppice-gateway.stderr | tail -n 1)\n\
         heir=${heir:-$process}\n\
         done\n\
         echo \"$heir\" >/run/coppice-gateway.pid ;;\n\
         *) echo \"systemctl $*: the stage knows no such thing\" >&2; exit 1 ;;\n\
         esac\n",
    ),
    (
        "curl",
        "#!/bin/sh\n\
         PATH=${PATH#*:}\n\
         curl \"$@\"\n\
         code=$?\n\
         tries=0\n\
         until curl -s http://127.0.0.1:9090/metrics | awk '/^coppice_gateway_streams/ { n += $2 } END { exit n > 0 }'; do\n\
         tries=$((tries + 1))\n\
         [ $tries -lt 200 ] || exit 99\n\
         sleep 0.05\n\
         done\n\
         exit $code\n",
    ),
];

/// Whether this may do all that root may.
pub(super) fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().unwrap();
    output.stdout == b"0\n"
}

/// Whether a page changes what is root's even in a world of its own: without root that world is the user's alone, and
/// has files and accounts of nobody else.
pub(super) fn needs_root(page: &Page) -> bool {
    let uses = |place| page.blocks.iter().any(|block| block.text.contains(place));
    let stages = ["gateway", "names", "ssh"];
    page.stage.iter().any(|word| stages.contains(&&**word)) || uses("/etc/") || uses("/var/")
}

/// Runs the page's commands and fails if one does not do what the page says. Only for a process of its own, in
/// namespaces of its own.
pub(super) fn play(page: &Page) {
    let wants = |word: &str| page.stage.iter().any(|own| own == word);
    own_places();
    let home = Path::new("/run/home");
    fs::create_dir(home).unwrap();
    let mut path = vec![home.join("bin").display().to_string()];
    install(&home.join("bin"));
    let mut environment = vec![("HOME", home.display().to_string())];
    environment.push(("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt".to_owned()));

    let cube = wants("cube");
    let has_upstream = cube || ["upstream", "gateway", "ssh"].into_iter().any(wants);
    let simulator = has_upstream.then(|| {
        fs::write(home.join("upstream-api-key"), UPSTREAM_KEY).unwrap();
        fs::set_permissions(home.join("upstream-api-key"), fs::Permissions::from_mode(0o600))
            .unwrap();
        upstream(cube)
    });
    if wants("names") {
        serve_names();
    }
    let mut service = None;
    if wants("gateway") || wants("ssh") {
        service = Some(start_gateway());
        for (name, role) in [
            ("KEY", "exec"),
            ("READ_KEY", "read"),
            ("OWNER_KEY", "owner"),
            ("ADMIN_KEY", "admin"),
            ("OTHER_KEY", "other"),
        ] {
            environment.push((name, key(role)));
        }
    }
    for (word, venv) in [("sdk", ".venv"), ("callback", ".venv-callback"), ("caddy", ".venv-caddy")]
    {
        if wants(word) {
            path.push(clients(venv).join("bin").display().to_string());
        }
    }
    path.push(std::env::var("PATH").unwrap());
    path.push("/usr/sbin:/sbin".to_owned());
    environment.push(("PATH", path.join(":")));

    let script = Script::write(page, Path::new("/run/page"));
    let mut shell = if wants("ssh") { elsewhere() } else { Command::new("sh") };
    shell.arg("/run/page/script").current_dir(home).env_clear().envs(environment);
    let errors = fs::File::create("/run/page/errors").unwrap();
    let mut shell =
        shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors).spawn().unwrap();
    let in_time = within(LIMIT, || shell.try_wait().unwrap().is_some());
    let _ = shell.kill();
    let mut problems = script.problems();
    if !in_time {
        problems.push(format!("still running after {LIMIT:?}"));
    }
    if !problems.is_empty() {
        problems.push(fs::read_to_string("/run/page/errors").unwrap());
        let log = fs::read_to_string("/var/log/coppice-gateway.stderr").unwrap_or_default();
        problems.push(log);
    }
    if let Some(mut gateway) = service {
        let _ = gateway.kill();
        let _ = gateway.wait();
    }
    drop(simulator);
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// Runs a few commands as they are.
fn sh(script: &str) {
    let ended = Command::new("sh").args(["-ec", script]).stdin(Stdio::null()).output().unwrap();
    assert!(ended.status.success(), "{script}\n{}", String::from_utf8_lossy(&ended.stderr));
}

/// Has everything that is written below these directories vanish with this process.
fn own_places() {
    sh("ip link set lo up
        mount -t tmpfs none /run
        for place in etc var; do
            mkdir /run/upper-$place /run/work-$place
            mount -t overlay none -o lowerdir=/$place,upperdir=/run/upper-$place,workdir=/run/work-$place /$place
        done");
}

/// Puts the program, and the stand-ins, into a directory.
fn install(directory: &Path) {
    fs::create_dir(directory).unwrap();
    let program = env!("CARGO_BIN_EXE_coppice-gateway");
    std::os::unix::fs::symlink(program, directory.join("coppice-gateway")).unwrap();
    for (name, text) in STAND_INS {
        fs::write(directory.join(name), text).unwrap();
        fs::set_permissions(directory.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
}

fn upstream(cube: bool) -> Simulator {
    Simulator::start(Options {
        listen: ([127, 0, 0, 1], 3100).into(),
        envd_listen: ([127, 0, 0, 1], 3002).into(),
        api_key: Some(UPSTREAM_KEY.to_owned()),
        v1_only: cube,
        ignore_filters: cube,
        snapshot_origins: cube,
        tokens: !cube,
        ..Options::default()
    })
    .unwrap()
}

/// The domain of the examples is this machine, and what its certificate is signed by is trusted.
fn serve_names() {
    names::serve();
    let authority = Authority::new();
    let domain = names::DOMAIN;
    let (certificate, key) = authority.issue("server", &format!("DNS:{domain},DNS:*.{domain}"));
    sh(&format!(
        "rm -f /etc/resolv.conf
         echo 'nameserver 127.0.0.1' >/etc/resolv.conf
         cat {} >>/etc/ssl/certs/ca-certificates.crt
         mkdir -p /etc/letsencrypt/live/{domain}
         cp {} /etc/letsencrypt/live/{domain}/fullchain.pem
         cp {} /etc/letsencrypt/live/{domain}/privkey.pem",
        authority.file().display(),
        certificate.display(),
        key.display(),
    ));
}

/// Runs a gateway with the settings that `docs/install/README.md` prints, as a service manager would.
fn start_gateway() -> Child {
    let printed = Page::read(Path::new("docs/install/README.md"));
    let wanted = format!("{ETC}/gateway.toml");
    let settings =
        printed.blocks.iter().find(|block| block.file.as_ref() == Some(&wanted)).unwrap();
    sh(&format!("mkdir -p {ETC} /var/lib/coppice-gateway /var/log/coppice-gateway"));
    fs::write(&wanted, &settings.text).unwrap();
    let keys: String = [
        ("team-a", "admin"),
        ("team-a", "owner"),
        ("team-a", "exec"),
        ("team-a", "read"),
        ("team-b", "other"),
    ]
    .into_iter()
    .map(|(tenant, role)| {
        let scope = if role == "other" { "exec" } else { role };
        format!("{tenant}:{}:{scope}\n", key(role))
    })
    .collect();
    for (file, text) in [("keys", &*keys), ("upstream-api-key", UPSTREAM_KEY)] {
        fs::write(format!("{ETC}/{file}"), text).unwrap();
        fs::set_permissions(format!("{ETC}/{file}"), fs::Permissions::from_mode(0o600)).unwrap();
    }
    let log = fs::File::create("/var/log/coppice-gateway.stderr").unwrap();
    let gateway = Command::new(env!("CARGO_BIN_EXE_coppice-gateway"))
        .args(["serve", "--config", &wanted])
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    fs::write("/run/coppice-gateway.pid", gateway.id().to_string()).unwrap();
    eventually("the gateway is ready", PATIENCE, || {
        std::net::TcpStream::connect(("127.0.0.1", 9090)).is_ok()
            && std::net::TcpStream::connect(("127.0.0.1", 3000)).is_ok()
    });
    gateway
}

/// A shell in another network, from which `ssh sandbox-host` leads here: over a pipe instead of a wire.
fn elsewhere() -> Command {
    sh("mkdir -p /run/sshd /etc/ssh/ssh_config.d
        ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/stage_host
        ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/stage_user
        # An account with a locked password may not log in at all.
        sed -i 's/^root:[^:]*:/root:*:/' /etc/shadow
        cat >/etc/ssh/stage_sshd <<'END'
HostKey /etc/ssh/stage_host
AuthorizedKeysFile /etc/ssh/stage_user.pub
PermitRootLogin prohibit-password
PasswordAuthentication no
StrictModes no
UsePAM no
END
        printf 'sandbox-host %s\\n' \"$(cut -d' ' -f1,2 /etc/ssh/stage_host.pub)\" >/etc/ssh/stage_known
        cat >/etc/ssh/ssh_config <<'END'
Host sandbox-host
    User root
    IdentityFile /etc/ssh/stage_user
    UserKnownHostsFile /etc/ssh/stage_known
    ProxyCommand nsenter --net=/proc/1/ns/net /usr/sbin/sshd -i -f /etc/ssh/stage_sshd
END");
    let mut shell = Command::new("unshare");
    shell.args(["--net", "sh", "-c", "ip link set lo up && exec sh \"$1\"", "sh"]);
    shell
}
