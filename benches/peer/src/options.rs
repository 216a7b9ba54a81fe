//! The options of a command: pairs of `--name value`. No switches, no defaults but those that a command states.

use std::collections::HashMap;
use std::fmt::Display;
use std::str::FromStr;

use crate::Failure;

/// What was given, by name.
#[derive(Debug)]
pub struct Options(HashMap<String, String>);

impl Options {
    /// Reads what follows the command.
    ///
    /// # Errors
    /// A name without two dashes or without a value.
    pub fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let mut given = HashMap::new();
        while let Some(argument) = arguments.next() {
            let name = argument.strip_prefix("--").ok_or_else(|| format!("what is {argument}?"))?;
            let value = arguments.next().ok_or_else(|| format!("--{name} wants a value"))?;
            given.insert(name.to_owned(), value);
        }
        Ok(Self(given))
    }

    /// The value of an option that may be absent.
    ///
    /// # Errors
    /// A value that can't be read.
    pub fn maybe<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Option<T>, Failure> {
        let read =
            |text: &String| text.parse().map_err(|why| format!("--{name} {text}: {why}").into());
        self.0.get(name).map(read).transpose()
    }

    /// The value of an option that has to be there.
    ///
    /// # Errors
    /// No value, or one that can't be read.
    pub fn need<T: FromStr<Err: Display>>(&self, name: &str) -> Result<T, Failure> {
        self.maybe(name)?.ok_or_else(|| format!("--{name} is missing").into())
    }
}
