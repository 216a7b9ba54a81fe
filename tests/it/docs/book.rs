//! The pages, read into what tests need of them: fenced blocks with the comments above them, headings, links.
//!
//! What a comment of the form `<!-- WORD: VALUE -->` may say, on a line of its own:
//!
//! - below the title, `stage:` with what the page's commands run on, separated by commas ([`super::stage`]), or
//!   `stage: not, because REASON`: none of them is run;
//! - above a block, `run: serve PORT…` (it stays in the foreground; the page goes on when all ports listen),
//!   `run: exit CODE` (what it is expected to end with), `run: not, because REASON`;
//! - above a block, `file: PATH`: it is put there before the next command runs.
//!
//! A `text` block right below a `sh` block is what that prints; see [`super::output`].

use std::fs;
use std::path::{Path, PathBuf};

/// A page, or what is left of it for tests.
#[derive(Debug)]
pub(super) struct Page {
    /// From the top of the repository.
    pub(super) path: PathBuf,
    /// What its commands run on.
    pub(super) stage: Vec<String>,
    /// How blocks run that say nothing of it.
    usual: Run,
    pub(super) blocks: Vec<Block>,
    /// As anchors.
    pub(super) headings: Vec<String>,
    /// Targets, with their line.
    pub(super) links: Vec<(usize, String)>,
    /// What is in no block, with its line.
    pub(super) prose: Vec<(usize, String)>,
}

/// A fenced block.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) line: usize,
    pub(super) language: String,
    pub(super) text: String,
    pub(super) run: Run,
    pub(super) file: Option<String>,
    /// Whether nothing but blank lines is between it and the block above.
    pub(super) follows: bool,
}

/// How a block is to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Run {
    /// To its end, which is success.
    ToItsEnd,
    /// To its end, with this code.
    Exit(u8),
    /// It goes on while the rest of the page runs, once these ports listen.
    Serve(Vec<u16>),
    /// For this reason, it is not.
    Not(String),
}

impl Run {
    fn parse(text: &str) -> Self {
        let (word, rest) = text.split_once([' ', ',']).unwrap_or((text, ""));
        let rest = rest.trim();
        match word {
            "exit" => Self::Exit(rest.parse().unwrap()),
            "serve" => Self::Serve(rest.split(' ').map(|port| port.parse().unwrap()).collect()),
            "not" => {
                let reason = rest.strip_prefix("because ").filter(|reason| !reason.is_empty());
                Self::Not(reason.unwrap_or_else(|| panic!("`run: {text}` gives no reason")).into())
            }
            _ => panic!("what is `run: {text}`?"),
        }
    }
}

/// The repository.
pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// `README.md` and everything under `docs`, in order.
pub(super) fn pages() -> Vec<Page> {
    let mut paths = vec![PathBuf::from("README.md")];
    let mut directories = vec![PathBuf::from("docs")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(root().join(&directory)).unwrap() {
            let path = directory.join(entry.unwrap().file_name());
            if root().join(&path).is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|end| end == "md") {
                paths.push(path);
            }
        }
    }
    paths.sort();
    paths.iter().map(|path| Page::read(path)).collect()
}

impl Page {
    /// Whether nothing on it is run.
    pub(super) fn is_left_out(&self) -> bool {
        matches!(self.usual, Run::Not(_))
    }

    pub(super) fn read(path: &Path) -> Self {
        Self::parse(path, &fs::read_to_string(root().join(path)).unwrap())
    }

    /// The page with this text.
    pub(super) fn parse(path: &Path, text: &str) -> Self {
        let mut page = Self {
            path: path.to_owned(),
            stage: Vec::new(),
            usual: Run::ToItsEnd,
            blocks: Vec::new(),
            headings: Vec::new(),
            links: Vec::new(),
            prose: Vec::new(),
        };
        page.fill(text);
        page
    }

    fn fill(&mut self, text: &str) {
        let (mut run, mut file, mut follows) = (None, None, false);
        let mut lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
        while let Some((number, line)) = lines.next() {
            let place = format!("{}:{number}", self.path.display());
            let (indent, bare) = line.split_at(line.len() - line.trim_start().len());
            if let Some(language) = bare.strip_prefix("```") {
                let body: Vec<&str> = lines
                    .by_ref()
                    .map(|(_, line)| line.strip_prefix(indent).unwrap_or(line))
                    .take_while(|line| *line != "```")
                    .collect();
                self.blocks.push(Block {
                    line: number,
                    language: language.to_owned(),
                    text: body.iter().map(|line| format!("{line}\n")).collect(),
                    run: run.take().unwrap_or_else(|| self.usual.clone()),
                    file: file.take(),
                    follows,
                });
                follows = true;
            } else if let Some(comment) =
                bare.strip_prefix("<!-- ").and_then(|bare| bare.strip_suffix(" -->"))
            {
                match comment.split_once(": ") {
                    Some(("stage", words)) if words.starts_with("not, ") => {
                        self.usual = Run::parse(words);
                    }
                    Some(("stage", words)) => {
                        self.stage = words.split(", ").map(str::to_owned).collect();
                    }
                    Some(("run", words)) => run = Some(Run::parse(words)),
                    Some(("file", path)) => file = Some(path.to_owned()),
                    Some(("generated", _)) => {}
                    _ => panic!("{place}: nobody reads `{comment}`"),
                }
                follows = false;
            } else if !bare.is_empty() {
                assert!(run.is_none() && file.is_none(), "{place}: the comment above has no block");
                if let Some(heading) = bare.trim_start_matches('#').strip_prefix(' ')
                    && bare.starts_with('#')
                {
                    self.headings.push(anchor(heading));
                }
                self.links.extend(links(line).into_iter().map(|link| (number, link)));
                self.prose.push((number, line.to_owned()));
                follows = false;
            }
        }
    }
}

/// A heading as GitHub makes an anchor of it.
pub(super) fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).flat_map(char::to_lowercase).collect()
}

/// The targets of links in a line, those in code left out.
fn links(line: &str) -> Vec<String> {
    let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("code");
    let mut found = Vec::new();
    for part in prose.split("](").skip(1) {
        found.push(part.split_once(')').unwrap_or((part, "")).0.to_owned());
    }
    found
}

#[test]
fn anchors_are_made_as_github_makes_them() {
    for (heading, expected) in [
        ("Two commands", "two-commands"),
        ("503 on `exec`: what now?", "503-on-exec-what-now"),
        ("A – B", "a--b"),
        ("server.listen", "serverlisten"),
    ] {
        assert_eq!(anchor(heading), expected);
    }
}

#[test]
fn blocks_that_are_not_fenced_or_not_shell_do_not_hide_commands() {
    const KNOWN: [&str; 12] = [
        "sh",
        "text",
        "toml",
        "json",
        "python",
        "nginx",
        "caddyfile",
        "yaml",
        "ini",
        "promql",
        "javascript",
        "rust",
    ];
    for page in pages() {
        for block in &page.blocks {
            let place = format!("{}:{}", page.path.display(), block.line);
            assert!(KNOWN.contains(&&*block.language), "{place}: ```{}", block.language);
            let is_transcript = block.text.lines().any(|line| line.starts_with("$ "));
            assert!(!is_transcript, "{place}: write commands without a prompt");
        }
        for (line, text) in &page.prose {
            let place = format!("{}:{line}", page.path.display());
            assert!(!text.starts_with("    "), "{place}: commands belong in a fenced block");
        }
    }
}
