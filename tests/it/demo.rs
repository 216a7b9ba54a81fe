//! `demo`: what it prints works as printed, and nobody elsewhere can reach it.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;

use serde_json::{Value, json};

use crate::support::client::{assert_installed, clients, program};
use crate::support::wait::PATIENCE;
use crate::support::{Answer, Ask, Program};

/// A running demo, and the page that it printed.
struct Demo {
    child: Child,
    page: String,
}

impl Demo {
    /// Starts it among variables that would stop or misdirect a gateway that read them.
    fn start(args: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_coppice-gateway"))
            .args([&["demo", "--listen", "127.0.0.1:0"], args].concat())
            .env_clear()
            .env("COPPICE_ENVD_LISTEN", "0.0.0.0:1")
            .env("COPPICE_CONFIG", "/nowhere")
            .env("COPPICE_STORE", "x")
            .env("RUST_LOG", "trace")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, printed) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let mut demo = Self { child, page: String::new() };
        while !demo.page.ends_with("Ctrl-C ends it.\n") {
            demo.page += &printed.recv_timeout(PATIENCE).unwrap();
            demo.page.push('\n');
        }
        demo
    }

    /// The address in the line that names `what`.
    fn address(&self, what: &str) -> SocketAddr {
        let line = self.page.lines().find(|line| line.contains(what)).unwrap();
        let url = line.split_whitespace().next().unwrap();
        url.strip_prefix("http://").unwrap().parse().unwrap()
    }

    /// The key printed for a tenant and scope.
    fn key(&self, tenant: &str, scope: &str) -> String {
        let row = |line: &&str| line.split_whitespace().take(2).eq([tenant, scope]);
        let line = self.page.lines().find(row).unwrap();
        line.split_whitespace().last().unwrap().to_owned()
    }

    /// The command printed under the heading that ends so.
    fn command(&self, heading: &str) -> &str {
        let mut lines = self.page.lines().skip_while(|line| !line.ends_with(heading));
        lines.nth(1).unwrap()
    }

    /// The Python program, as one would paste it.
    fn python(&self) -> &str {
        let (_, rest) = self.page.split_once("<<'PY'\n").unwrap();
        rest.split_once("\nPY\n").unwrap().0
    }

    /// Creates a sandbox; its id and token.
    fn create(&self) -> (String, String) {
        let created = curl(self.command(": 201"));
        assert_eq!(created.status, 201, "{}", created.text());
        (text(&created, "sandboxID"), text(&created, "envdAccessToken"))
    }

    /// Runs a shell command in a sandbox as an SDK does; the events as text.
    fn run(&self, (id, token): &(String, String), script: &str) -> String {
        let process = json!({"process": {"cmd": "/bin/sh", "args": ["-c", script]}}).to_string();
        let mut message = vec![0];
        message.extend(u32::try_from(process.len()).unwrap().to_be_bytes());
        message.extend(process.as_bytes());
        let answer = Ask::new("POST", "/process.Process/Start")
            .header("Content-Type", "application/connect+json")
            .header("Connect-Protocol-Version", "1")
            .header("E2b-Sandbox-Id", id)
            .header("E2b-Sandbox-Port", "49983")
            .header("X-Access-Token", token)
            .body(message)
            .send(self.address("E2B_SANDBOX_URL"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.text()
    }

    /// Ends it as a shell or a service manager would. Its logs come along.
    fn stop(&mut self, signal: &str) -> (ExitStatus, String) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
        let mut log = String::new();
        // Its end is the end of its log.
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        (self.child.wait().unwrap(), log)
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A field of a JSON answer.
fn text(answer: &Answer, name: &str) -> String {
    answer.json().get(name).and_then(Value::as_str).unwrap().to_owned()
}

/// Sends what a printed `curl` command would send. A `$(…)` in its URL stands for the id of the sandbox that it starts.
fn curl(command: &str) -> Answer {
    let (outer, inner) = command.split_once("$(").unwrap_or((command, ""));
    assert!(outer.starts_with("curl -sw '\\n' -H 'X-API-Key: e2b_"), "{command}");
    let quoted = |before: &str| -> Vec<&str> {
        outer.split(before).skip(1).map(|rest| rest.split('\'').next().unwrap()).collect()
    };
    let (host, path) =
        outer.rsplit_once("http://").and_then(|(_, url)| url.trim().split_once('/')).unwrap();
    let mut path = format!("/{path}");
    if !inner.is_empty() {
        let created = curl(inner.split(" | ").next().unwrap());
        path += &text(&created, "sandboxID");
    }
    let body = quoted("-d '");
    let mut ask = Ask::new(if body.is_empty() { "GET" } else { "POST" }, &path);
    for header in quoted("-H '") {
        let (name, value) = header.split_once(": ").unwrap();
        ask = ask.header(name, value);
    }
    if let Some(body) = body.first() {
        ask = ask.body(*body);
    }
    ask.send(host.parse().unwrap())
}

#[test]
fn everything_printed_works() {
    let mut demo = Demo::start(&[]);
    assert!(demo.page.contains("THIS IS NOT A SANDBOX"), "{}", demo.page);
    assert!(!demo.page.contains('\u{1b}'), "no colours in a pipe");
    let api = demo.address("E2B_API_URL");
    assert!(api.ip().is_loopback());
    assert_eq!(demo.address("E2B_SANDBOX_URL"), api, "one port is enough");

    let sandbox = demo.create();
    let listed = curl(demo.command(": 200"));
    assert_eq!((listed.status, listed.json()[0]["sandboxID"].as_str()), (200, Some(&*sandbox.0)));
    let refused = curl(demo.command(": 403"));
    assert_eq!((refused.status, refused.code().as_str()), (403, "missing_scope"));
    let unseen = curl(demo.command(": 404"));
    assert_eq!((unseen.status, unseen.code().as_str()), (404, "sandbox_not_found"));
    // "hello\n", and nothing that only a real shell could have said.
    assert!(demo.run(&sandbox, "echo hello").contains("aGVsbG8K"));
    assert!(!demo.run(&sandbox, "expr 6 '*' 7").contains("NDIK"));

    let whoami: Vec<&str> = demo.command("Who does a key belong to?").split(' ').skip(1).collect();
    let known = Program::new().run(&whoami);
    assert_eq!(known.code, 0, "{known:?}");
    assert!(known.out.contains("tenant\tteam-a\n") && known.out.contains("scopes\tadmin\n"));

    let (status, log) = demo.stop("-TERM");
    assert_eq!((status.code(), log.as_str()), (Some(0), ""));
}

#[test]
fn the_keys_are_what_they_are_said_to_be_and_new_every_time() {
    let (first, second) = (Demo::start(&[]), Demo::start(&[]));
    for (tenant, scope) in
        [("team-a", "admin"), ("team-a", "exec"), ("team-a", "read"), ("team-b", "exec")]
    {
        let key = first.key(tenant, scope);
        let known = Ask::get("/auth/whoami").key(&key).send(first.address("E2B_API_URL")).json();
        assert_eq!(
            (&known["tenantID"], &known["scopes"], &known["source"]),
            (&Value::from(tenant), &json!([scope]), &Value::from("static"))
        );
        let elsewhere = Ask::get("/auth/whoami").key(&key).send(second.address("E2B_API_URL"));
        assert_eq!(elsewhere.status, 401);
    }
}

#[test]
fn the_program_for_python_is_for_this_run() {
    let demo = Demo::start(&["--envd-listen", "127.0.0.1:0=*"]);
    let printed = demo.python();
    let (api, sandboxes) = (demo.address("E2B_API_URL"), demo.address("E2B_SANDBOX_URL"));
    assert_ne!(api, sandboxes);
    for line in [
        format!("os.environ[\"E2B_API_URL\"] = \"http://{api}\""),
        format!("os.environ[\"E2B_SANDBOX_URL\"] = \"http://{sandboxes}\""),
        format!("os.environ[\"E2B_API_KEY\"] = \"{}\"", demo.key("team-a", "exec")),
        "sandbox = Sandbox.create(timeout=300)".to_owned(),
    ] {
        assert!(printed.lines().any(|own| own == line), "{line} is not in\n{printed}");
    }
    assert!(demo.run(&demo.create(), "echo hello").contains("aGVsbG8K"));
}

#[test]
fn the_program_for_python_runs_as_printed() {
    assert_installed();
    let demo = Demo::start(&[]);
    for folder in [".venv", ".venv-old"] {
        let ended = program(clients(folder).join("bin/python"))
            .args(["-c", demo.python()])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ended.stdout);
        let wrong = String::from_utf8_lossy(&ended.stderr);
        let lines: Vec<&str> = said.lines().collect();
        assert!(ended.status.success(), "{folder}: {said}\n{wrong}");
        assert!(lines.first().is_some_and(|line| line.starts_with("started i")), "{said}");
        assert_eq!(
            lines.get(1..),
            Some(&["hello from the sandbox", "written through the gateway"][..])
        );
    }
}

#[test]
fn commands_run_on_this_machine_only_when_asked_to() {
    let mut demo = Demo::start(&["--allow-local-processes"]);
    assert!(demo.page.contains("DANGER"), "{}", demo.page);
    assert!(demo.run(&demo.create(), "expr 6 '*' 7").contains("NDIK"));
    assert_eq!(demo.stop("-INT").0.code(), Some(0));
}

#[test]
fn a_taken_port_is_said_with_a_way_out() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ended = Program::new().run(&["demo", "--listen", &address]);
    assert_eq!((ended.code, ended.out.as_str()), (1, ""));
    for part in [&address, "in use", "--listen"] {
        assert!(ended.err.contains(part), "{part}: {ended:?}");
    }
}

#[test]
fn it_listens_on_loopback_only() {
    for args in [
        &["--listen", "0.0.0.0:0"][..],
        &["--listen", "127.0.0.1:0,[::]:0"],
        &["--listen", "unix:/nowhere/demo.sock"],
        &["--listen", "127.0.0.1:0", "--envd-listen", "0.0.0.0:0=*"],
        &["--listen", "0.0.0.0:0", "--allow-local-processes"],
    ] {
        let ended = Program::new().run(&[&["demo"], args].concat());
        assert_eq!((ended.code, ended.out.as_str()), (78, ""), "{args:?}");
        assert!(ended.err.contains("loopback only"), "{ended:?}");
    }
}
