//! The commands of a page as one shell script: they share a shell, as they do at a reader's terminal.
//!
//! Each block is a file of its own, byte for byte. What it prints goes to a file too, and so does that it ended well.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use super::book::{Block, Page, Run};
use super::output::is_as_said;

/// Waits until the ports given listen; the kernel's table has them in hexadecimal, with 0A for "listens".
const LISTENING: &str = r#"
listening() {
    for port in "$@"; do
        hex=$(printf ':%04X$' "$port")
        tries=0
        until cat /proc/net/tcp /proc/net/tcp6 | awk -v hex="$hex" '$2 ~ hex && $4 == "0A" { n++ } END { exit !n }'; do
            tries=$((tries + 1))
            [ "$tries" -lt 1200 ] || { echo "nothing listens on port $port" >&2; return 1; }
            sleep 0.05
        done
    done
}
"#;

/// The script of a page, and where its blocks are.
#[derive(Debug)]
pub(super) struct Script<'a> {
    page: &'a Page,
    directory: PathBuf,
}

impl<'a> Script<'a> {
    /// Writes it below `directory`; it is `directory/script`.
    pub(super) fn write(page: &'a Page, directory: &Path) -> Self {
        fs::create_dir(directory).unwrap();
        let this = Self { page, directory: directory.to_owned() };
        let mut script = format!("set -e\n{LISTENING}\n");
        for (number, block) in page.blocks.iter().enumerate() {
            fs::write(this.of(number, "block"), &block.text).unwrap();
            this.add(&mut script, number, block).unwrap();
        }
        // At the end, when every file is there that settings may name.
        for (number, block) in page.blocks.iter().enumerate() {
            if block.language == "toml" {
                this.check(&mut script, number, block).unwrap();
            }
        }
        fs::write(directory.join("script"), script).unwrap();
        this
    }

    fn of(&self, number: usize, what: &str) -> PathBuf {
        self.directory.join(format!("{number}.{what}"))
    }

    fn add(&self, script: &mut String, number: usize, block: &Block) -> std::fmt::Result {
        let path = |what| self.of(number, what).display().to_string();
        let (text, out, well) = (path("block"), path("out"), path("well"));
        if let Some(file) = &block.file {
            writeln!(script, "mkdir -p \"$(dirname {file})\"; cp {text} {file}")?;
        }
        if block.language != "sh" {
            return Ok(());
        }
        match &block.run {
            Run::ToItsEnd => writeln!(script, ". {text} >{out} 2>&1; : >{well}"),
            Run::Exit(code) => {
                writeln!(script, "set +e; (. {text}) >{out} 2>&1; code=$?; set -e")?;
                writeln!(script, "[ $code = {code} ]; : >{well}")
            }
            Run::Serve(ports) => {
                let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
                writeln!(script, "(. {text}) >{out} 2>&1 &")?;
                writeln!(script, "listening {}; : >{well}", ports.join(" "))
            }
            Run::Not(_) => writeln!(script, ": >{well}"),
        }
    }

    /// Has the program look at a block of settings. What may be left out of an excerpt is in the environment.
    fn check(&self, script: &mut String, number: usize, block: &Block) -> std::fmt::Result {
        let path = |what| self.of(number, what).display().to_string();
        let (text, out, well) = (path("block"), path("out"), path("well"));
        if matches!(block.run, Run::Not(_)) {
            return writeln!(script, ": >{well}");
        }
        writeln!(script, "COPPICE_UPSTREAM=http://127.0.0.1:3100 \\")?;
        writeln!(script, "    coppice-gateway check --config {text} >{out} 2>&1; : >{well}")
    }

    /// What is wrong, now that the script has ended.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut above: Option<String> = None;
        let blocks = self.page.blocks.iter().enumerate();
        let (settings, others): (Vec<_>, Vec<_>) = blocks.partition(|(_, b)| b.language == "toml");
        for (number, block) in others.into_iter().chain(settings) {
            let place = format!("{}:{}", self.page.path.display(), block.line);
            let printed = || fs::read_to_string(self.of(number, "out")).unwrap_or_default();
            if matches!(&*block.language, "sh" | "toml") && !self.of(number, "well").exists() {
                problems.push(format!("{place}: failed, or was not reached:\n{}", printed()));
                // What comes after it is only of interest once this works.
                break;
            }
            if block.language == "text"
                && block.follows
                && let Some(printed) = above.take()
                && !is_as_said(&block.text, &printed)
            {
                problems.push(format!("{place}: what was printed instead is\n{printed}"));
            }
            above = (block.language == "sh" && !matches!(block.run, Run::Not(_))).then(printed);
        }
        problems
    }
}

#[test]
fn what_does_not_do_as_it_says_is_found() {
    const GOOD: &str = "```sh\nx=1\n```\n\n<!-- file: a/b -->\n```text\nhi\n```\n\n```sh\ncat a/b; echo $x\n```\n\n```text\nhi\n…\n```\n";
    for (text, expected) in [
        (GOOD, None),
        ("```sh\ntrue\nfalse\ntrue\n```", Some("page.md:1: failed")),
        ("```sh\nfalse | true\n```\n```sh\nexit 3\n```", Some("page.md:4: failed")),
        (
            "```sh\necho b\n```\n\n```text\na\n```",
            Some("page.md:5: what was printed instead is\nb"),
        ),
        ("```sh\ntrue\n```\n\n```text\na\n```", Some("page.md:5: what was printed")),
        ("<!-- run: exit 3 -->\n```sh\nexit 3\n```", None),
        ("<!-- run: exit 3 -->\n```sh\nexit 4\n```", Some("page.md:2: failed")),
        ("<!-- run: exit 3 -->\n```sh\ntrue\n```", Some("page.md:2: failed")),
        ("<!-- run: not, because it would fail -->\n```sh\nfalse\n```\n\n```text\na\n```", None),
    ] {
        let page = Page::parse(Path::new("page.md"), text);
        let directory = tempfile::tempdir().unwrap();
        let script = Script::write(&page, &directory.path().join("page"));
        let mut shell = std::process::Command::new("sh");
        shell.arg("page/script").current_dir(&directory).stderr(std::process::Stdio::null());
        shell.status().unwrap();
        let problems = script.problems();
        let found = problems.first().map(String::as_str);
        let is_expected = match expected {
            Some(start) => found.is_some_and(|found| found.starts_with(start)),
            None => found.is_none(),
        };
        assert!(is_expected && problems.len() < 2, "{text}\n{problems:#?}");
    }
}
