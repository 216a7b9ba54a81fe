//! The toy shell's grammar: from text to commands. Nothing runs here.

use std::iter::Peekable;
use std::str::Chars;

use super::tree::{
    Command, Destination, Kind, Redirect, Script, Simple, Step, When, Word, is_name, is_name_char,
};

/// How deep groups, loops and substitutions may nest.
const DEPTH: usize = 32;

/// Why a text is no script.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Problem {
    #[error("syntax error near unexpected token `{0}'")]
    Unexpected(String),
    #[error("unexpected EOF while looking for `{0}'")]
    Unfinished(&'static str),
    #[error("{0} is not supported")]
    Unsupported(&'static str),
}

pub(super) fn parse(text: &str) -> Result<Script, Problem> {
    let mut parser = Parser { rest: text.chars().peekable(), depth: 0 };
    let script = parser.script()?;
    match parser.rest.next() {
        None => Ok(script),
        Some(c) => Err(Problem::Unexpected(c.to_string())),
    }
}

struct Parser<'a> {
    rest: Peekable<Chars<'a>>,
    depth: usize,
}

impl Parser<'_> {
    fn peek(&mut self) -> Option<char> {
        self.rest.peek().copied()
    }

    fn eat(&mut self, wanted: char) -> bool {
        self.rest.next_if_eq(&wanted).is_some()
    }

    fn starts_with(&self, text: &str) -> bool {
        let mut ahead = self.rest.clone();
        text.chars().all(|c| ahead.next() == Some(c))
    }

    fn keyword(&self, word: &str) -> bool {
        let mut ahead = self.rest.clone();
        word.chars().all(|c| ahead.next() == Some(c))
            && ahead.next().is_none_or(|c| c.is_whitespace() || c == ';' || c == ')')
    }

    fn eat_keyword(&mut self, word: &'static str) -> Result<(), Problem> {
        if !self.keyword(word) {
            return Err(Problem::Unfinished(word));
        }
        word.chars().for_each(|_| {
            self.rest.next();
        });
        Ok(())
    }

    fn blanks(&mut self) {
        while self.rest.next_if(|c| matches!(c, ' ' | '\t' | '\r')).is_some() {}
        if self.starts_with("\\\n") {
            self.rest.next();
            self.rest.next();
            return self.blanks();
        }
        if self.peek() == Some('#') {
            while self.rest.next_if(|c| *c != '\n').is_some() {}
        }
    }

    fn separators(&mut self) {
        loop {
            self.blanks();
            if self.rest.next_if(|c| matches!(c, ';' | '\n')).is_none() {
                return;
            }
        }
    }

    fn script(&mut self) -> Result<Script, Problem> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(Problem::Unsupported("nesting this deep"));
        }
        let mut steps = Vec::new();
        let mut when = When::Always;
        loop {
            self.separators();
            let closes = matches!(self.peek(), None | Some(')' | '}'))
                || self.keyword("done")
                || self.keyword("do");
            if closes {
                if when != When::Always {
                    return Err(Problem::Unfinished("a command"));
                }
                self.depth -= 1;
                return Ok(Script(steps));
            }
            let mut stages = vec![self.command()?];
            while self.peek() == Some('|') && !self.starts_with("||") {
                self.rest.next();
                self.separators();
                stages.push(self.command()?);
            }
            steps.push(Step { when, stages });
            when = if self.starts_with("&&") {
                When::AfterSuccess
            } else if self.starts_with("||") {
                When::AfterFailure
            } else {
                When::Always
            };
            if when != When::Always {
                self.rest.next();
                self.rest.next();
            } else if self.peek() == Some('&') {
                return Err(Problem::Unsupported("running in the background with `&`"));
            }
        }
    }

    fn command(&mut self) -> Result<Command, Problem> {
        self.blanks();
        for (keyword, name) in
            [("if", "`if`"), ("while", "`while`"), ("until", "`until`"), ("case", "`case`")]
        {
            if self.keyword(keyword) {
                return Err(Problem::Unsupported(name));
            }
        }
        if self.keyword("for") {
            return self.for_loop();
        }
        for (open, close, name) in [('(', ')', ")"), ('{', '}', "}")] {
            if self.peek() == Some(open) && (open == '(' || self.keyword("{")) {
                self.rest.next();
                let script = self.script()?;
                if !self.eat(close) {
                    return Err(Problem::Unfinished(name));
                }
                self.blanks();
                return Ok(Command::Group(script));
            }
        }
        let simple = self.simple()?;
        if simple.words.is_empty() && simple.redirects.is_empty() {
            let next = self.peek().map_or_else(|| "newline".to_owned(), |c| c.to_string());
            return Err(Problem::Unexpected(next));
        }
        Ok(Command::Simple(simple))
    }

    fn for_loop(&mut self) -> Result<Command, Problem> {
        self.eat_keyword("for")?;
        self.blanks();
        let mut variable = String::new();
        while let Some(c) = self.rest.next_if(|c| is_name_char(*c)) {
            variable.push(c);
        }
        if !is_name(&variable) {
            return Err(Problem::Unexpected(variable));
        }
        self.blanks();
        self.eat_keyword("in")?;
        let items = self.simple()?.words;
        self.separators();
        self.eat_keyword("do")?;
        let body = self.script()?;
        self.eat_keyword("done")?;
        self.blanks();
        Ok(Command::For { variable, items, body })
    }

    fn simple(&mut self) -> Result<Simple, Problem> {
        let mut simple = Simple::default();
        loop {
            self.blanks();
            match self.peek() {
                None | Some(';' | '\n' | '&' | '|' | ')') => return Ok(simple),
                Some('<') => return Err(Problem::Unsupported("`<`")),
                Some('(') => return Err(Problem::Unexpected("(".to_owned())),
                Some('>') => simple.redirects.push(self.redirect(false)?),
                Some('1' | '2') if self.starts_with("1>") || self.starts_with("2>") => {
                    let stderr = self.rest.next() == Some('2');
                    simple.redirects.push(self.redirect(stderr)?);
                }
                Some(_) => simple.words.push(self.word()?),
            }
        }
    }

    fn redirect(&mut self, stderr: bool) -> Result<Redirect, Problem> {
        self.rest.next();
        let append = self.eat('>');
        if self.eat('&') {
            let to = match self.rest.next() {
                Some('1') => Destination::Stdout,
                Some('2') => Destination::Stderr,
                other => return Err(Problem::Unexpected(other.into_iter().collect())),
            };
            return Ok(Redirect { stderr, to });
        }
        self.blanks();
        let path = self.word()?;
        if path.0.is_empty() {
            return Err(Problem::Unexpected("newline".to_owned()));
        }
        Ok(Redirect { stderr, to: Destination::File { path, append } })
    }

    fn word(&mut self) -> Result<Word, Problem> {
        let mut word = Word::default();
        while let Some(c) = self.peek() {
            if c.is_whitespace() || matches!(c, ';' | '&' | '|' | '(' | ')' | '<' | '>') {
                break;
            }
            self.rest.next();
            match c {
                '\\' => {
                    if let Some(c) = self.rest.next()
                        && c != '\n'
                    {
                        word.push_char(true, c);
                    }
                }
                '\'' => self.single_quoted(&mut word)?,
                '"' => self.double_quoted(&mut word)?,
                '`' => return Err(Problem::Unsupported("a backquote")),
                '$' => self.dollar(&mut word, false)?,
                c => word.push_char(false, c),
            }
        }
        Ok(word)
    }

    fn single_quoted(&mut self, word: &mut Word) -> Result<(), Problem> {
        word.push(true, Kind::Text(String::new()));
        loop {
            match self.rest.next() {
                None => return Err(Problem::Unfinished("'")),
                Some('\'') => return Ok(()),
                Some(c) => word.push_char(true, c),
            }
        }
    }

    fn double_quoted(&mut self, word: &mut Word) -> Result<(), Problem> {
        word.push(true, Kind::Text(String::new()));
        loop {
            match self.rest.next() {
                None => return Err(Problem::Unfinished("\"")),
                Some('"') => return Ok(()),
                Some('\\') => match self.rest.next() {
                    Some('\n') => {}
                    Some(c @ ('"' | '\\' | '$' | '`')) => word.push_char(true, c),
                    Some(c) => {
                        word.push_char(true, '\\');
                        word.push_char(true, c);
                    }
                    None => return Err(Problem::Unfinished("\"")),
                },
                Some('$') => self.dollar(word, true)?,
                Some(c) => word.push_char(true, c),
            }
        }
    }

    fn dollar(&mut self, word: &mut Word, quoted: bool) -> Result<(), Problem> {
        match self.peek() {
            Some('(') => {
                if self.starts_with("((") {
                    return Err(Problem::Unsupported("arithmetic"));
                }
                self.rest.next();
                let text = self.substitution()?;
                word.push(quoted, Kind::Substitution(text));
            }
            Some('{') => {
                self.rest.next();
                let mut name = String::new();
                while let Some(c) = self.rest.next_if(|c| is_name_char(*c)) {
                    name.push(c);
                }
                if !self.eat('}') {
                    return Err(Problem::Unsupported("this form of `${…}`"));
                }
                word.push(quoted, Kind::Variable(name));
            }
            Some(c) if is_name_char(c) || matches!(c, '?' | '$') => {
                let mut name = String::new();
                if matches!(c, '?' | '$') {
                    self.rest.next();
                    name.push(c);
                }
                while name != "?"
                    && name != "$"
                    && let Some(c) = self.rest.next_if(|c| is_name_char(*c))
                {
                    name.push(c);
                }
                word.push(quoted, Kind::Variable(name));
            }
            Some(_) | None => word.push_char(quoted, '$'),
        }
        Ok(())
    }

    /// The text up to the closing parenthesis; what is in it is read as a script, to know where it ends.
    fn substitution(&mut self) -> Result<String, Problem> {
        let before: String = self.rest.clone().collect();
        self.script()?;
        let after = self.rest.clone().collect::<String>().len();
        if !self.eat(')') {
            return Err(Problem::Unfinished(")"));
        }
        Ok(before.get(..before.len() - after).unwrap_or_default().to_owned())
    }
}
