//! Every command in the documentation is run as printed; what is not, is listed here.
//!
//! Each page has a world of its own: a network, processes, `/etc` and `/var` that vanish with it ([`super::stage`]). In
//! it this very program runs again, and plays the one page.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use super::book::{Page, Run, pages};
use super::stage;
use crate::support::client::assert_installed;

/// Names the page to be played. Only set inside.
const PAGE: &str = "DOCS_PAGE";

/// Pages that are played at once.
const AT_ONCE: usize = 3;

/// The first line of every block that is not run, with its page, or the page alone where that is none of its blocks. The
/// reason stands there.
const NOT_RUN: [(&str, &str); 13] = [
    ("README.md", "cargo build --release --locked"),
    ("README.md", "cargo run -- demo"),
    ("README.md", "tests/run"),
    ("docs/develop/README.md", "cargo build --locked"),
    ("docs/develop/README.md", "python3 benches/gate.py            # instructions a request"),
    ("docs/develop/README.md", "tests/run                      # everything"),
    ("docs/install/container.md", ""),
    ("docs/install/debian.md", ""),
    ("docs/install/freebsd.md", ""),
    ("docs/install/release.md", ""),
    ("docs/install/systemd.md", ""),
    ("docs/migrate/e2b-compat.md", ""),
    ("docs/speed.md", "python3 benches/side_by_side.py"),
];

#[test]
#[expect(clippy::print_stdout, reason = "for whoever reads along with --nocapture")]
fn every_command_works_as_printed() {
    if let Some(page) = std::env::var_os(PAGE) {
        return stage::play(&Page::read(Path::new(&page)));
    }
    assert_installed();
    let mut pages = pages();
    pages.retain(|page| page.blocks.iter().any(|b| matches!(&*b.language, "sh" | "toml")));
    if !stage::is_root() {
        for page in pages.extract_if(.., |page| stage::needs_root(page)) {
            println!("not run without root: {}", page.path.display());
        }
    }
    let waiting: Vec<PathBuf> = pages.into_iter().map(|page| page.path).collect();
    assert!(!waiting.is_empty());
    let (waiting, failed) = (Mutex::new(waiting), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(page) = { waiting.lock().unwrap().pop() } {
                    if let Err(why) = played_elsewhere(&page) {
                        failed.lock().unwrap().push(why);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} pages failed:\n{}", failed.len(), failed.join("\n"));
}

/// Plays a page in a world of its own, which ends with it.
fn played_elsewhere(page: &Path) -> Result<(), String> {
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    if !stage::is_root() {
        command.arg("--map-root-user");
    }
    let output = command
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "docs::commands::every_command_works_as_printed", "--nocapture"])
        .env(PAGE, page)
        .stdin(Stdio::null())
        .output()
        .expect("unshare (Debian: util-linux) runs");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    output.status.success().then_some(()).ok_or_else(|| format!("{}: {said}", page.display()))
}

#[test]
#[expect(clippy::print_stdout, reason = "for whoever reads along with --nocapture")]
fn what_is_not_run_is_listed() {
    let mut found = BTreeSet::new();
    for page in pages() {
        for block in page.blocks.iter().filter(|b| matches!(&*b.language, "sh" | "toml")) {
            if let Run::Not(reason) = &block.run {
                println!("not run: {}:{}: {reason}", page.path.display(), block.line);
                let first = block.text.lines().next().filter(|_| !page.is_left_out());
                let first = first.unwrap_or_default().to_owned();
                found.insert((page.path.to_str().unwrap().to_owned(), first));
            }
        }
    }
    let listed = NOT_RUN.map(|(page, line)| (page.to_owned(), line.to_owned())).into();
    assert_eq!(found, listed, "NOT_RUN in tests/it/docs/commands.rs lists what is not run");
}
