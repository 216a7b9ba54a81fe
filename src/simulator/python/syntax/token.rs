//! The toy Python's tokens, by logical line.

use std::iter::Peekable;
use std::str::Chars;

use super::super::value::Value;
use super::super::{Exception, unknown};
use super::bad;

/// Longest first where one begins another.
const OPERATORS: [&str; 26] = [
    "**", "//", "==", "!=", "<=", ">=", "+=", "-=", "*=", "+", "-", "*", "/", "%", "=", "<", ">",
    "(", ")", "[", "]", ",", ":", ";", "{", "}",
];

#[derive(Clone)]
pub(super) enum Token {
    /// A name, or names joined with dots.
    Name(String),
    Literal(Value),
    /// An f-string: text, expression, text, …
    Format(Vec<String>),
    Operator(&'static str),
}

/// The lines that hold anything, with their indentation; an open bracket continues a line.
pub(super) fn lines(code: &str) -> Result<Vec<(usize, Vec<Token>)>, Exception> {
    let mut lines: Vec<(usize, Vec<Token>)> = Vec::new();
    let mut open = 0_usize;
    for line in code.lines() {
        let body = line.trim_start();
        let tokens = tokens(body)?;
        let indent = line.len() - body.len();
        let continues = open > 0;
        for token in &tokens {
            match token {
                Token::Operator("(" | "[" | "{") => open += 1,
                Token::Operator(")" | "]" | "}") => {
                    open = open.checked_sub(1).ok_or_else(|| bad("unmatched bracket"))?;
                }
                Token::Operator(_) | Token::Name(_) | Token::Literal(_) | Token::Format(_) => {}
            }
        }
        if tokens.is_empty() {
            continue;
        }
        match lines.last_mut() {
            Some((_, last)) if continues => last.extend(tokens),
            Some(_) | None => lines.push((indent, tokens)),
        }
    }
    if open > 0 { Err(bad("'(' was never closed")) } else { Ok(lines) }
}

fn tokens(line: &str) -> Result<Vec<Token>, Exception> {
    let mut tokens = Vec::new();
    let mut rest = line.chars().peekable();
    while let Some(&c) = rest.peek() {
        match c {
            '#' => break,
            c if c.is_whitespace() => {
                rest.next();
            }
            '\'' | '"' => tokens.push(Token::Literal(Value::Text(text(&mut rest)?))),
            'f' if is_format(&rest) => {
                rest.next();
                tokens.push(Token::Format(format_parts(&text(&mut rest)?)?));
            }
            c if c.is_ascii_digit() => tokens.push(number(&mut rest)?),
            c if c.is_alphabetic() || c == '_' => tokens.push(Token::Name(take(&mut rest, |c| {
                c.is_alphanumeric() || matches!(c, '_' | '.')
            }))),
            _ => tokens.push(operator(&mut rest)?),
        }
    }
    Ok(tokens)
}

fn is_format(rest: &Peekable<Chars<'_>>) -> bool {
    matches!(rest.clone().nth(1), Some('\'' | '"'))
}

fn take(rest: &mut Peekable<Chars<'_>>, wanted: impl Fn(char) -> bool) -> String {
    std::iter::from_fn(|| rest.next_if(|c| wanted(*c))).collect()
}

fn number(rest: &mut Peekable<Chars<'_>>) -> Result<Token, Exception> {
    let digits = take(rest, |c| c.is_ascii_digit() || matches!(c, '_' | '.')).replace('_', "");
    let value = if digits.contains('.') {
        digits.parse().map(Value::Float).map_err(|_| bad("invalid number"))?
    } else {
        digits.parse().map(Value::Int).map_err(|_| unknown("numbers this large"))?
    };
    Ok(Token::Literal(value))
}

fn operator(rest: &mut Peekable<Chars<'_>>) -> Result<Token, Exception> {
    let ahead: String = rest.clone().take(2).collect();
    let operator = OPERATORS.iter().find(|operator| ahead.starts_with(*operator));
    let operator = operator.ok_or_else(|| unknown(&format!("`{}`", ahead.trim())))?;
    for _ in operator.chars() {
        rest.next();
    }
    Ok(Token::Operator(operator))
}

fn text(rest: &mut Peekable<Chars<'_>>) -> Result<String, Exception> {
    let quote = rest.next();
    let mut text = String::new();
    loop {
        match rest.next() {
            None => return Err(bad("unterminated string literal")),
            c if c == quote => break,
            Some('\\') => match rest.next() {
                Some('n') => text.push('\n'),
                Some('t') => text.push('\t'),
                Some(c @ ('\\' | '\'' | '"')) => text.push(c),
                Some(c) => text.extend(['\\', c]),
                None => return Err(bad("unterminated string literal")),
            },
            Some(c) => text.push(c),
        }
    }
    if text.is_empty() && rest.peek().copied() == quote {
        return Err(unknown("triple quotes"));
    }
    Ok(text)
}

fn format_parts(text: &str) -> Result<Vec<String>, Exception> {
    let mut parts = vec![String::new()];
    let mut inside = false;
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '{' | '}' if !inside && rest.next_if_eq(&c).is_some() => {
                if let Some(part) = parts.last_mut() {
                    part.push(c);
                }
            }
            '{' if !inside => {
                inside = true;
                parts.push(String::new());
            }
            '}' if inside => {
                inside = false;
                parts.push(String::new());
            }
            c => {
                if let Some(part) = parts.last_mut() {
                    part.push(c);
                }
            }
        }
    }
    if inside { Err(bad("f-string: expecting '}'")) } else { Ok(parts) }
}
