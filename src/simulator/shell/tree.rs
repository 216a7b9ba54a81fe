//! What the toy shell's grammar yields: scripts, commands and words.

pub(super) struct Script(pub(super) Vec<Step>);

/// A pipeline, and when it runs.
pub(super) struct Step {
    pub(super) when: When,
    pub(super) stages: Vec<Command>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    Always,
    AfterSuccess,
    AfterFailure,
}

pub(super) enum Command {
    Simple(Simple),
    For { variable: String, items: Vec<Word>, body: Script },
    Group(Script),
}

#[derive(Default)]
pub(super) struct Simple {
    pub(super) words: Vec<Word>,
    pub(super) redirects: Vec<Redirect>,
}

pub(super) struct Redirect {
    pub(super) stderr: bool,
    pub(super) to: Destination,
}

pub(super) enum Destination {
    Stdout,
    Stderr,
    File { path: Word, append: bool },
}

/// A word, before variables and substitutions are put in.
#[derive(Default)]
pub(super) struct Word(pub(super) Vec<Piece>);

pub(super) struct Piece {
    pub(super) quoted: bool,
    pub(super) kind: Kind,
}

pub(super) enum Kind {
    Text(String),
    Variable(String),
    /// `$(…)`, still as text: it is read when it runs.
    Substitution(String),
}

impl Word {
    /// Splits `NAME=value`.
    pub(super) fn assignment(&self) -> Option<(String, Self)> {
        let (Piece { quoted: false, kind: Kind::Text(text) }, rest) = self.0.split_first()? else {
            return None;
        };
        let (name, value) = text.split_once('=')?;
        if !is_name(name) {
            return None;
        }
        let value = Piece { quoted: true, kind: Kind::Text(value.to_owned()) };
        let rest = rest.iter().map(|piece| Piece {
            quoted: true,
            kind: match &piece.kind {
                Kind::Text(text) => Kind::Text(text.clone()),
                Kind::Variable(name) => Kind::Variable(name.clone()),
                Kind::Substitution(text) => Kind::Substitution(text.clone()),
            },
        });
        Some((name.to_owned(), Self(std::iter::once(value).chain(rest).collect())))
    }

    /// The numbers of `{a..b}`.
    pub(super) fn range(&self) -> Option<Vec<String>> {
        let (from, to) = self.plain()?.strip_prefix('{')?.strip_suffix('}')?.split_once("..")?;
        let (from, to): (i64, i64) = (from.parse().ok()?, to.parse().ok()?);
        // Longer ones stay text, so that a typing error does not fill the memory.
        (to.checked_sub(from)?.checked_abs()? <= 1_000_000).then(|| {
            if from <= to {
                (from..=to).map(|n| n.to_string()).collect()
            } else {
                (to..=from).rev().map(|n| n.to_string()).collect()
            }
        })
    }

    /// The word if it is plain unquoted text.
    fn plain(&self) -> Option<&str> {
        match self.0.as_slice() {
            [Piece { quoted: false, kind: Kind::Text(text) }] => Some(text),
            _ => None,
        }
    }

    pub(super) fn push(&mut self, quoted: bool, kind: Kind) {
        self.0.push(Piece { quoted, kind });
    }

    pub(super) fn push_char(&mut self, quoted: bool, c: char) {
        match self.0.last_mut() {
            Some(Piece { quoted: have, kind: Kind::Text(text) }) if *have == quoted => text.push(c),
            Some(_) | None => self.push(quoted, Kind::Text(c.to_string())),
        }
    }
}

pub(super) fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(is_name_char)
}

pub(super) fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}
