//! Problems with settings: what, and in which of a setting's spellings.
//!
//! They are collected, never reported one by one. No message quotes a secret.

use std::fmt;
use std::sync::Arc;

use crate::keys::KeyProblem;

/// How a setting was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spelling {
    /// On the command line: the flag, without its dashes.
    Flag(String),
    /// In the environment: the variable.
    Variable(String),
    /// In the settings file.
    File {
        /// The file.
        path: Arc<str>,
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
        /// The dotted key; empty when the file is malformed there.
        key: String,
    },
    /// A file, as a whole.
    Whole(Arc<str>),
    /// Nowhere: the key of a setting that is missing.
    Key(&'static str),
}

impl fmt::Display for Spelling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "--{flag}"),
            Self::Variable(name) => f.write_str(name),
            Self::File { path, line, column, key } if key.is_empty() => {
                write!(f, "{path}:{line}:{column}")
            }
            Self::File { path, line, column, key } => write!(f, "{path}:{line}:{column}: {key}"),
            Self::Whole(path) => f.write_str(path),
            Self::Key(key) => f.write_str(key),
        }
    }
}

/// One thing wrong.
#[derive(Debug, PartialEq, Eq)]
pub enum Problem {
    /// With a setting.
    Setting(Spelling, String),
    /// With an entry of a key list.
    Key(KeyProblem),
}

impl Problem {
    /// Sorts problems of one file by position, everything else by name.
    fn sort_key(&self) -> (String, usize, usize, usize) {
        match self {
            Self::Setting(Spelling::File { path, line, column, .. }, _) => {
                (path.to_string(), *line, *column, 0)
            }
            Self::Setting(spelling, _) => (spelling.to_string(), 0, 0, 0),
            Self::Key(problem) => {
                let (line, column) = problem.place.position.unwrap_or_default();
                (problem.place.source.to_string(), line, column, problem.place.entry.unwrap_or(0))
            }
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting(spelling, message) => write!(f, "{spelling}: {message}"),
            Self::Key(problem) => problem.fmt(f),
        }
    }
}

/// Everything wrong with the settings, at least one thing; a line each.
#[derive(Debug, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Puts problems in order.
    pub(super) fn sorted(mut problems: Vec<Problem>) -> Self {
        problems.sort_by_cached_key(Problem::sort_key);
        Self(problems)
    }

    /// One by one.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
