//! The toy Python's grammar: logical lines, tokens, statements and expressions.

mod token;

use std::iter::Peekable;
use std::vec::IntoIter;

use self::token::Token;
use super::value::Value;
use super::{Exception, unknown};

/// How deep expressions may nest.
const DEPTH: usize = 64;

pub(super) enum Statement {
    /// `pass`, and imports: the modules that matter are always there.
    Nothing,
    Assign(String, Expression),
    For {
        name: String,
        over: Expression,
        body: Vec<Statement>,
    },
    Raise(String, Option<Expression>),
    Expression(Expression),
}

pub(super) enum Expression {
    Literal(Value),
    /// A name, or names joined with dots.
    Name(String),
    List(Vec<Expression>),
    Format(Vec<Expression>),
    Negative(Box<Expression>),
    Binary(&'static str, Box<Expression>, Box<Expression>),
    Call(String, Vec<Argument>),
}

pub(super) struct Argument {
    pub(super) keyword: Option<String>,
    pub(super) value: Expression,
}

fn bad(message: &str) -> Exception {
    Exception::new("SyntaxError", message)
}

pub(super) fn parse(code: &str) -> Result<Vec<Statement>, Exception> {
    let mut lines = token::lines(code)?.into_iter().peekable();
    let statements = block(&mut lines, 0)?;
    match lines.next() {
        None => Ok(statements),
        Some(_) => Err(Exception::new("IndentationError", "unexpected indent")),
    }
}

type Lines = Peekable<IntoIter<(usize, Vec<Token>)>>;

/// The statements of one indentation.
fn block(lines: &mut Lines, indent: usize) -> Result<Vec<Statement>, Exception> {
    let mut statements = Vec::new();
    while let Some((_, tokens)) = lines.next_if(|(have, _)| *have == indent) {
        let mut parser = Parser { rest: tokens.into_iter().peekable(), depth: 0 };
        if !parser.eat_name("for") {
            parser.simple_statements(&mut statements)?;
            continue;
        }
        let name = parser.name()?;
        if !parser.eat_name("in") {
            return Err(bad("invalid syntax"));
        }
        let over = parser.expression()?;
        parser.expect(":")?;
        let mut body = Vec::new();
        if parser.rest.peek().is_some() {
            parser.simple_statements(&mut body)?;
        } else {
            let deeper = lines.peek().map(|(have, _)| *have).filter(|have| *have > indent);
            let deeper = deeper
                .ok_or_else(|| Exception::new("IndentationError", "expected an indented block"))?;
            body = block(lines, deeper)?;
        }
        statements.push(Statement::For { name, over, body });
    }
    Ok(statements)
}

struct Parser {
    rest: Peekable<IntoIter<Token>>,
    depth: usize,
}

impl Parser {
    fn eat(&mut self, operator: &str) -> bool {
        self.rest
            .next_if(|token| matches!(token, Token::Operator(have) if *have == operator))
            .is_some()
    }

    fn eat_name(&mut self, name: &str) -> bool {
        self.rest.next_if(|token| matches!(token, Token::Name(have) if have == name)).is_some()
    }

    fn expect(&mut self, operator: &str) -> Result<(), Exception> {
        if self.eat(operator) { Ok(()) } else { Err(bad("invalid syntax")) }
    }

    fn name(&mut self) -> Result<String, Exception> {
        match self.rest.next() {
            Some(Token::Name(name)) => Ok(name),
            Some(Token::Operator(_) | Token::Literal(_) | Token::Format(_)) | None => {
                Err(bad("invalid syntax"))
            }
        }
    }

    fn simple_statements(&mut self, statements: &mut Vec<Statement>) -> Result<(), Exception> {
        while self.rest.peek().is_some() {
            statements.push(self.statement()?);
            if !self.eat(";") && self.rest.peek().is_some() {
                return Err(bad("invalid syntax"));
            }
        }
        Ok(())
    }

    fn statement(&mut self) -> Result<Statement, Exception> {
        for word in
            ["def", "class", "while", "if", "with", "try", "return", "lambda", "async", "del"]
        {
            if self.eat_name(word) {
                return Err(unknown(&format!("`{word}`")));
            }
        }
        if self.eat_name("pass") {
            return Ok(Statement::Nothing);
        }
        if self.eat_name("import") || self.eat_name("from") {
            while self.rest.next_if(|token| !matches!(token, Token::Operator(";"))).is_some() {}
            return Ok(Statement::Nothing);
        }
        if self.eat_name("raise") {
            let name = self.name()?;
            let arguments = if self.eat("(") { self.arguments(")")? } else { Vec::new() };
            let message = arguments.into_iter().next().map(|argument| argument.value);
            return Ok(Statement::Raise(name, message));
        }
        let expression = self.expression()?;
        if self.eat("=") {
            let Expression::Name(name) = expression else {
                return Err(bad("cannot assign to expression"));
            };
            return Ok(Statement::Assign(name, self.expression()?));
        }
        for (operator, plain) in [("+=", "+"), ("-=", "-"), ("*=", "*")] {
            if self.eat(operator) {
                let Expression::Name(name) = expression else {
                    return Err(bad("cannot assign to expression"));
                };
                let left = Box::new(Expression::Name(name.clone()));
                let right = Box::new(self.expression()?);
                return Ok(Statement::Assign(name, Expression::Binary(plain, left, right)));
            }
        }
        Ok(Statement::Expression(expression))
    }

    fn expression(&mut self) -> Result<Expression, Exception> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(Exception::new("RecursionError", "expression nested too deeply"));
        }
        let expression = self.binary(0);
        self.depth -= 1;
        expression
    }

    /// Operators by how tightly they bind, loosest first.
    fn binary(&mut self, level: usize) -> Result<Expression, Exception> {
        const LEVELS: [&[&str]; 3] =
            [&["==", "!=", "<", "<=", ">", ">="], &["+", "-"], &["*", "/", "//", "%"]];
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.binary(level + 1)?;
        while let Some(operator) = operators.iter().find(|operator| self.eat(operator)) {
            left = Expression::Binary(operator, Box::new(left), Box::new(self.binary(level + 1)?));
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<Expression, Exception> {
        let mut negative = false;
        while self.eat("-") {
            negative = !negative;
        }
        let mut value = self.primary()?;
        if self.eat("**") {
            self.depth += 1;
            if self.depth > DEPTH {
                return Err(Exception::new("RecursionError", "expression nested too deeply"));
            }
            value = Expression::Binary("**", Box::new(value), Box::new(self.unary()?));
            self.depth -= 1;
        }
        Ok(if negative { Expression::Negative(Box::new(value)) } else { value })
    }

    fn primary(&mut self) -> Result<Expression, Exception> {
        match self.rest.next() {
            Some(Token::Literal(value)) => Ok(Expression::Literal(value)),
            Some(Token::Format(parts)) => self.format(parts),
            Some(Token::Operator("(")) => {
                let inner = self.expression()?;
                self.expect(")")?;
                Ok(inner)
            }
            Some(Token::Operator("[")) => {
                let items = self.arguments("]")?;
                Ok(Expression::List(items.into_iter().map(|item| item.value).collect()))
            }
            Some(Token::Name(name)) => {
                let constant = match name.as_str() {
                    "None" => Some(Value::None),
                    "True" => Some(Value::Bool(true)),
                    "False" => Some(Value::Bool(false)),
                    _ => None,
                };
                match constant {
                    Some(value) => Ok(Expression::Literal(value)),
                    None if self.eat("(") => Ok(Expression::Call(name, self.arguments(")")?)),
                    None => Ok(Expression::Name(name)),
                }
            }
            Some(Token::Operator(_)) | None => Err(bad("invalid syntax")),
        }
    }

    fn arguments(&mut self, close: &str) -> Result<Vec<Argument>, Exception> {
        let mut arguments = Vec::new();
        while !self.eat(close) {
            let value = self.expression()?;
            let argument = if let Expression::Name(name) = &value
                && self.eat("=")
            {
                Argument { keyword: Some(name.clone()), value: self.expression()? }
            } else {
                Argument { keyword: None, value }
            };
            arguments.push(argument);
            if !self.eat(",") {
                self.expect(close)?;
                break;
            }
        }
        Ok(arguments)
    }

    /// The parts of an f-string: texts and the sources of expressions, in turns.
    fn format(&self, parts: Vec<String>) -> Result<Expression, Exception> {
        let mut expressions = Vec::new();
        for (index, part) in parts.into_iter().enumerate() {
            if index % 2 == 0 {
                expressions.push(Expression::Literal(Value::Text(part)));
                continue;
            }
            let mut lines = token::lines(part.trim())?.into_iter();
            let tokens = lines.next().map(|(_, tokens)| tokens).unwrap_or_default();
            let mut inner = Self { rest: tokens.into_iter().peekable(), depth: self.depth };
            expressions.push(inner.expression()?);
            if inner.rest.peek().is_some() {
                return Err(unknown("f-string formats"));
            }
        }
        Ok(Expression::Format(expressions))
    }
}
