//! Reads Rust source just closely enough to say what it imports.
//!
//! A lexer that drops comments and literals, and a walk that follows inline modules, `use` trees, inline paths and
//! `#[cfg(test)]` items. It trusts that the source compiles; it resolves no macros and no re-exports.

use std::iter::Peekable;
use std::str::Chars;

/// A path that some code names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Import {
    /// Its segments; starting with `crate` for the package's own, whatever it was written with.
    pub(crate) path: Vec<String>,
    /// Counted from 1.
    pub(crate) line: usize,
    /// Whether only tests see it.
    pub(crate) in_test: bool,
}

/// What one file says.
#[derive(Debug, Default)]
pub(crate) struct Source {
    /// Every import and inline path of two segments or more.
    pub(crate) imports: Vec<Import>,
    /// Lines that declare `mod tests` without `#[cfg(test)]`.
    pub(crate) shipped_tests: Vec<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    /// `::`
    Sep,
    Other(char),
}

impl Token {
    fn is(&self, word: &str) -> bool {
        matches!(self, Self::Word(own) if own == word)
    }
}

/// Splits source into tokens and their lines, without comments and literals.
fn lex(text: &str) -> Vec<(Token, usize)> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    let mut line = 1;
    while let Some(c) = chars.next() {
        let next = chars.peek().copied();
        match c {
            '\n' => line += 1,
            '/' if next == Some('/') => while chars.next_if(|c| *c != '\n').is_some() {},
            '/' if next == Some('*') => line += skip_block_comment(&mut chars),
            '"' => line += skip_text(&mut chars),
            '\'' => skip_character(&mut chars),
            ':' if next == Some(':') => {
                chars.next();
                tokens.push((Token::Sep, line));
            }
            c if is_word(c) => {
                let mut word = String::from(c);
                while let Some(c) = chars.next_if(|c| is_word(*c)) {
                    word.push(c);
                }
                let raw = matches!(word.as_str(), "r" | "br" | "cr");
                match raw.then(|| skip_raw_text(&mut chars)).flatten() {
                    Some(lines) => line += lines,
                    None => tokens.push((Token::Word(word), line)),
                }
            }
            c if c.is_whitespace() => {}
            c => tokens.push((Token::Other(c), line)),
        }
    }
    tokens
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// Skips the rest of `/* … */`, which nests, and counts its lines.
fn skip_block_comment(chars: &mut Peekable<Chars<'_>>) -> usize {
    let (mut depth, mut lines, mut last) = (1, 0, ' ');
    chars.next();
    while depth > 0
        && let Some(c) = chars.next()
    {
        lines += usize::from(c == '\n');
        last = match (last, c) {
            ('/', '*') => {
                depth += 1;
                ' '
            }
            ('*', '/') => {
                depth -= 1;
                ' '
            }
            _ => c,
        };
    }
    lines
}

/// Skips the rest of `"…"` and counts its lines.
fn skip_text(chars: &mut Peekable<Chars<'_>>) -> usize {
    let mut lines = 0;
    while let Some(c) = chars.next() {
        lines += usize::from(c == '\n');
        match c {
            '"' => break,
            '\\' => lines += usize::from(chars.next() == Some('\n')),
            _ => {}
        }
    }
    lines
}

/// Skips `#"…"#` after the `r`, if that is what follows, and counts its lines.
fn skip_raw_text(chars: &mut Peekable<Chars<'_>>) -> Option<usize> {
    let mut ahead = chars.clone();
    let mut hashes = 0;
    while ahead.next_if_eq(&'#').is_some() {
        hashes += 1;
    }
    ahead.next_if_eq(&'"')?;
    let (mut lines, mut closing) = (0, None);
    while closing != Some(hashes) {
        let c = ahead.next()?;
        lines += usize::from(c == '\n');
        closing = match (c, closing) {
            ('"', _) => Some(0),
            ('#', Some(seen)) => Some(seen + 1),
            _ => None,
        };
    }
    *chars = ahead;
    Some(lines)
}

/// Skips the rest of `'x'`; after a lifetime's quote there is nothing to skip.
fn skip_character(chars: &mut Peekable<Chars<'_>>) {
    let mut ahead = chars.clone();
    let escaped = ahead.next() == Some('\\');
    if escaped {
        ahead.next();
        while ahead.next().is_some_and(|c| c != '\'') {}
    }
    if escaped || ahead.next() == Some('\'') {
        *chars = ahead;
    }
}

/// Reads the file of `module` (its path, from the top-level module down), all of it a test where `in_test` says so.
pub(crate) fn read(module: &[&str], in_test: bool, text: &str) -> Source {
    let module = module.iter().map(ToString::to_string).collect();
    let tokens = lex(text);
    let mut walk = Walk { rest: &tokens, module, found: Source::default() };
    walk.items(in_test);
    walk.found
}

struct Walk<'t> {
    rest: &'t [(Token, usize)],
    /// Where we are, inline modules included.
    module: Vec<String>,
    found: Source,
}

impl Walk<'_> {
    fn peek(&self, ahead: usize) -> Option<&Token> {
        self.rest.get(ahead).map(|(token, _)| token)
    }

    fn skip(&mut self, count: usize) {
        self.rest = self.rest.get(count..).unwrap_or_default();
    }

    fn line(&self) -> usize {
        self.rest.first().map_or(0, |(_, line)| *line)
    }

    fn at_word(&self, ahead: usize) -> Option<String> {
        match self.peek(ahead)? {
            Token::Word(word) => Some(word.clone()),
            Token::Sep | Token::Other(_) => None,
        }
    }

    fn at_cfg_test(&self) -> bool {
        let wanted = ['#', '[', 'c', '(', 't', ')', ']'];
        wanted.into_iter().enumerate().all(|(ahead, wanted)| match (wanted, self.peek(ahead)) {
            ('c', Some(token)) => token.is("cfg"),
            ('t', Some(token)) => token.is("test"),
            (_, token) => token == Some(&Token::Other(wanted)),
        })
    }

    /// Walks up to the bracket that closes the current block.
    fn items(&mut self, in_test: bool) {
        let mut item_in_test = in_test;
        let mut after_dot = false;
        while let Some(token) = self.peek(0).cloned() {
            let dotted = std::mem::replace(&mut after_dot, token == Token::Other('.'));
            match token {
                Token::Other(')' | ']' | '}') => return,
                Token::Other('#') if self.at_cfg_test() => {
                    item_in_test = true;
                    self.skip(7);
                }
                Token::Other(open @ ('(' | '[' | '{')) => {
                    self.skip(1);
                    self.items(item_in_test);
                    self.skip(1);
                    if open == '{' {
                        item_in_test = in_test;
                    }
                }
                Token::Other(c) => {
                    self.skip(1);
                    if c == ';' {
                        item_in_test = in_test;
                    }
                }
                Token::Word(word) if word == "use" && self.peek(1) != Some(&Token::Other('<')) => {
                    self.skip(1);
                    self.tree(&[], item_in_test);
                }
                Token::Word(word) if word == "mod" => {
                    self.module(item_in_test);
                    item_in_test = in_test;
                }
                Token::Word(_) | Token::Sep => self.inline_path(item_in_test, dotted),
            }
        }
    }

    /// Walks `mod name` and, where it is an inline module, its items.
    fn module(&mut self, in_test: bool) {
        let line = self.line();
        let name = self.at_word(1).unwrap_or_default();
        if name == "tests" && !in_test {
            self.found.shipped_tests.push(line);
        }
        self.skip(2);
        if self.peek(0) == Some(&Token::Other('{')) {
            self.module.push(name);
            self.skip(1);
            self.items(in_test);
            self.skip(1);
            self.module.pop();
        }
    }

    /// Walks one branch of a `use` tree.
    fn tree(&mut self, prefix: &[String], in_test: bool) {
        let mut path = prefix.to_vec();
        let line = self.line();
        loop {
            match self.peek(0).cloned() {
                Some(Token::Word(word)) if word == "as" => self.skip(2),
                Some(Token::Word(word)) => {
                    path.push(word);
                    self.skip(1);
                }
                Some(Token::Sep) => self.skip(1),
                Some(Token::Other('*')) => {
                    path.push("*".to_owned());
                    self.skip(1);
                }
                Some(Token::Other('{')) => {
                    self.skip(1);
                    while !matches!(self.peek(0), None | Some(Token::Other('}'))) {
                        self.tree(&path, in_test);
                        if self.peek(0) != Some(&Token::Other('}')) {
                            self.skip(1);
                        }
                    }
                    self.skip(1);
                    return;
                }
                Some(Token::Other(_)) | None => return self.record(path, line, in_test),
            }
        }
    }

    /// Walks a path in code, of one segment or more.
    fn inline_path(&mut self, in_test: bool, dotted: bool) {
        let line = self.line();
        let mut path = Vec::new();
        loop {
            match self.at_word(0) {
                Some(word) => {
                    path.push(word);
                    self.skip(1);
                }
                None if path.is_empty() => {}
                None => break,
            }
            if self.peek(0) != Some(&Token::Sep) {
                break;
            }
            self.skip(1);
        }
        if path.len() > 1 && !dotted {
            self.record(path, line, in_test);
        }
    }

    /// Notes a path, with `self` and `super` resolved.
    fn record(&mut self, path: Vec<String>, line: usize, in_test: bool) {
        let mut base = None;
        let mut segments = path.into_iter().peekable();
        while let Some(first) = segments
            .next_if(|segment| segment == "self" || segment == "super" || segment == "crate")
        {
            let base = base.get_or_insert_with(|| self.module.clone());
            match first.as_str() {
                "super" => drop(base.pop()),
                "crate" => base.clear(),
                _ => {}
            }
        }
        let base = base.map(|base| std::iter::once("crate".to_owned()).chain(base));
        let path: Vec<String> = base.into_iter().flatten().chain(segments).collect();
        if !path.is_empty() {
            self.found.imports.push(Import { path, line, in_test });
        }
    }
}
