//! Puts variables and substitutions into words, and splits what was not quoted.

use super::super::files::{home, normal};
use super::tree::{Kind, Word};
use super::{Output, Shell, Sink};
use crate::simulator::locked;

impl Shell {
    /// The fields a word becomes; none if it was unquoted and empty.
    pub(super) async fn expand(&mut self, word: &Word, sink: &Sink) -> Vec<String> {
        if let Some(numbers) = word.range() {
            return numbers;
        }
        let mut fields = Vec::new();
        let mut field: Option<String> = None;
        for piece in &word.0 {
            let text = match &piece.kind {
                Kind::Text(text) => {
                    let first = field.is_none() && !piece.quoted;
                    let home = first.then(|| text.strip_prefix('~')).flatten();
                    match home {
                        Some(rest) if rest.is_empty() || rest.starts_with('/') => {
                            format!("{}{rest}", self.home())
                        }
                        Some(_) | None => text.clone(),
                    }
                }
                Kind::Variable(name) => self.variable(name),
                Kind::Substitution(script) => self.output_of(script, sink).await,
            };
            if piece.quoted || matches!(piece.kind, Kind::Text(_)) {
                field.get_or_insert_default().push_str(&text);
                continue;
            }
            if text.starts_with(char::is_whitespace) {
                fields.extend(field.take());
            }
            let mut parts = text.split_whitespace().peekable();
            while let Some(part) = parts.next() {
                field.get_or_insert_default().push_str(part);
                if parts.peek().is_some() || text.ends_with(char::is_whitespace) {
                    fields.extend(field.take());
                }
            }
        }
        fields.extend(field);
        fields
    }

    fn variable(&self, name: &str) -> String {
        match name {
            "?" => self.status.to_string(),
            "$" => "1".to_owned(),
            "PWD" => self.cwd.clone(),
            name => self.variables.get(name).cloned().unwrap_or_default(),
        }
    }

    async fn output_of(&mut self, script: &str, sink: &Sink) -> String {
        let (out, buffer) = Output::buffer();
        let inner = Sink { out, err: sink.err.clone() };
        Box::pin(self.run(script, &inner)).await;
        self.exited = false;
        let bytes = std::mem::take(&mut *locked(&buffer));
        String::from_utf8_lossy(&bytes).trim_end_matches('\n').to_owned()
    }

    fn home(&self) -> String {
        self.variables.get("HOME").cloned().unwrap_or_else(|| home(&self.user))
    }

    /// A path as this shell means it.
    pub(super) fn path(&self, path: &str) -> String {
        normal(path, &self.cwd, &self.home())
    }
}
