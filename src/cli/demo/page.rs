//! What `demo` prints: a warning, the keys, and commands to paste.
//!
//! Every command stands alone, so that it works wherever and in whatever order it is pasted.

use std::fmt;

use super::Keys;

/// The page of a run.
pub(super) struct Page<'a> {
    /// Base URL of the sandbox API.
    pub(super) api: String,
    /// Base URL of the sandboxes.
    pub(super) sandboxes: String,
    /// The keys.
    pub(super) keys: &'a Keys,
    /// Whether commands run on this machine.
    pub(super) local_processes: bool,
    /// Whether a terminal shows it.
    pub(super) colour: bool,
}

/// How a line stands out on a terminal: an SGR parameter of ECMA-48.
#[derive(Clone, Copy)]
enum Style {
    Bold,
    Yellow,
    Red,
}

impl Page<'_> {
    fn paint(&self, style: Style, text: &str) -> String {
        let code = match style {
            Style::Bold => "1",
            Style::Yellow => "1;33",
            Style::Red => "1;37;41",
        };
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn banner(&self) -> String {
        let not = self.paint(Style::Yellow, "*** THIS IS NOT A SANDBOX: nothing is isolated. ***");
        let how = if self.local_processes {
            self.paint(
                Style::Red,
                "DANGER: --allow-local-processes is on. Commands run on this machine, as you, with all that you may do.",
            )
        } else {
            "Commands run in a toy shell that knows echo, cat, ls and little more; no process is started.".to_owned()
        };
        format!(
            "{not}\nThe gateway is real. The sandbox API behind it is simulated, and forgets everything when it ends.\n{how}\n"
        )
    }

    fn key_table(&self) -> String {
        let row = |(tenant, scope, key)| format!("  {tenant}  {scope:<5}  {key}\n");
        self.keys.iter().map(row).collect()
    }

    /// A shell command under a heading.
    fn command(&self, heading: &str, command: &str) -> String {
        format!("\n{}\n{command}\n", self.paint(Style::Bold, heading))
    }

    /// A Python program that uses E2B's SDK, release 2 or newer, and nothing else.
    fn python(&self) -> String {
        format!(
            r#"import os

os.environ["E2B_API_URL"] = "{api}"
os.environ["E2B_SANDBOX_URL"] = "{sandboxes}"
os.environ["E2B_API_KEY"] = "{key}"

from e2b import Sandbox

sandbox = Sandbox.create(timeout=300)
print("started", sandbox.sandbox_id)
print(sandbox.commands.run("echo hello from the sandbox").stdout, end="")
sandbox.files.write("/home/user/note.txt", "written through the gateway")
print(sandbox.files.read("/home/user/note.txt"))
sandbox.kill()"#,
            api = self.api,
            sandboxes = self.sandboxes,
            key = self.keys.exec.expose(),
        )
    }
}

impl fmt::Display for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Keys { admin, exec, read, other } = self.keys;
        let curl = |key: &str, rest: &str| format!("curl -sw '\\n' -H 'X-API-Key: {key}' {rest}");
        let json =
            "-H 'Content-Type: application/json' -d '{\"templateID\":\"base\",\"timeout\":300}'";
        let create = format!("{json} {}/sandboxes", self.api);
        let newest = format!(
            "$({} | sed 's/.*\"sandboxID\":\"\\([^\"]*\\)\".*/\\1/')",
            curl(exec.expose(), &create)
        );
        write!(
            f,
            "\n{}\n{}\n  {}  sandbox API (E2B_API_URL)\n  {}  sandboxes (E2B_SANDBOX_URL)\n\n{}\n{}",
            self.paint(Style::Bold, "coppice-gateway demo"),
            self.banner(),
            self.api,
            self.sandboxes,
            self.paint(Style::Bold, "Keys, made up for this run"),
            self.key_table(),
        )?;
        let whoami =
            format!("coppice-gateway whoami --url {} --token {}", self.api, admin.expose());
        for (heading, command) in [
            ("Who does a key belong to?", whoami),
            ("Start a sandbox as team-a: 201", curl(exec.expose(), &create)),
            (
                "List them with the read key: 200",
                curl(read.expose(), &format!("{}/v2/sandboxes", self.api)),
            ),
            ("Start one with the read key: 403", curl(read.expose(), &create)),
            (
                "Ask as team-b for a sandbox that team-a just started: 404",
                curl(other.expose(), &format!("{}/sandboxes/{newest}", self.api)),
            ),
            (
                "Run a command and write a file with E2B's SDK (pip install e2b)",
                format!("python3 - <<'PY'\n{}\nPY", self.python()),
            ),
        ] {
            f.write_str(&self.command(heading, &command))?;
        }
        write!(f, "\nCtrl-C ends it.\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(local_processes: bool, colour: bool) -> String {
        let keys = Keys::new().unwrap();
        let (api, sandboxes) = ("http://127.0.0.1:1".to_owned(), "http://127.0.0.1:2".to_owned());
        Page { api, sandboxes, keys: &keys, local_processes, colour }.to_string()
    }

    #[test]
    fn only_a_terminal_gets_colours_and_never_within_commands() {
        assert!(!page(true, false).contains('\x1b'));
        let coloured = page(true, true);
        assert!(coloured.contains("\x1b[1;33m*** THIS IS NOT A SANDBOX"));
        assert!(coloured.contains("\x1b[1;37;41mDANGER"));
        let commands = |line: &&str| line.starts_with("curl ") || line.contains("python3 -");
        assert!(coloured.lines().filter(commands).all(|line| !line.contains('\x1b')));
    }

    #[test]
    fn danger_is_named_only_where_there_is_some() {
        assert!(page(true, false).contains("DANGER"));
        assert!(!page(false, false).contains("DANGER"));
    }
}
