//! A toy Python: enough for the first page of a tutorial.
//!
//! Assignments, arithmetic and comparisons, strings and f-strings, lists, `for` over `range` or a list, `print`,
//! `time.sleep`, `raise`, a few functions. Whatever it does not know is a `NotImplementedError` that says so.

mod syntax;
mod value;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::mpsc;

use self::syntax::{Argument, Expression, Statement};
use self::value::Value;

/// What code printed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Printed {
    Stdout(String),
    Stderr(String),
}

/// An exception.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Exception {
    pub(super) name: String,
    pub(super) value: String,
}

impl Exception {
    fn new(name: &str, value: impl Into<String>) -> Self {
        Self { name: name.to_owned(), value: value.into() }
    }
}

/// An interpreter and its variables.
#[derive(Default)]
pub(super) struct Python {
    variables: BTreeMap<String, Value>,
}

impl Python {
    /// Runs code; the representation of its last expression, unless that is `None`.
    pub(super) async fn run(
        &mut self,
        code: &str,
        output: mpsc::Sender<Printed>,
    ) -> Result<Option<String>, Exception> {
        let statements = syntax::parse(code)?;
        let Some((last, before)) = statements.split_last() else { return Ok(None) };
        for statement in before {
            self.statement(statement, &output).await?;
        }
        let value = self.statement(last, &output).await?;
        Ok((value != Value::None).then(|| value.repr()))
    }

    /// Runs a statement; the value if it is an expression.
    async fn statement(
        &mut self,
        statement: &Statement,
        output: &mpsc::Sender<Printed>,
    ) -> Result<Value, Exception> {
        match statement {
            Statement::Nothing => {}
            Statement::Assign(name, expression) => {
                let value = self.evaluate(expression)?;
                self.variables.insert(name.clone(), value);
            }
            Statement::For { name, over, body } => {
                let Value::List(items) = self.evaluate(over)? else {
                    return Err(Exception::new("TypeError", "object is not iterable"));
                };
                for item in items {
                    self.variables.insert(name.clone(), item);
                    for statement in body {
                        Box::pin(self.statement(statement, output)).await?;
                    }
                }
            }
            Statement::Raise(name, message) => {
                let message = message.as_ref().map(|message| self.evaluate(message)).transpose()?;
                let message = message.map(|message| message.to_string()).unwrap_or_default();
                return Err(Exception::new(name, message));
            }
            Statement::Expression(Expression::Call(function, arguments)) if function == "print" => {
                self.print(arguments, output).await?;
            }
            Statement::Expression(Expression::Call(function, arguments))
                if function == "time.sleep" || function == "sleep" =>
            {
                let seconds = self.positional(arguments)?.first().and_then(Value::as_float);
                let duration =
                    seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
                let duration = duration
                    .ok_or_else(|| Exception::new("TypeError", "sleep() wants a number"))?;
                tokio::time::sleep(duration).await;
            }
            Statement::Expression(expression) => return self.evaluate(expression),
        }
        Ok(Value::None)
    }

    async fn print(
        &self,
        arguments: &[Argument],
        output: &mpsc::Sender<Printed>,
    ) -> Result<(), Exception> {
        let (mut end, mut stderr) = ("\n".to_owned(), false);
        for argument in arguments {
            match argument.keyword.as_deref() {
                None => {}
                Some("end") => end = self.evaluate(&argument.value)?.to_string(),
                Some("file") => {
                    stderr =
                        matches!(&argument.value, Expression::Name(name) if name == "sys.stderr");
                }
                Some("flush") => {}
                Some(other) => return Err(unknown(&format!("print(…, {other}=…)"))),
            }
        }
        let texts: Vec<_> = self.positional(arguments)?.iter().map(ToString::to_string).collect();
        let text = texts.join(" ") + &end;
        let printed = if stderr { Printed::Stderr(text) } else { Printed::Stdout(text) };
        // With nobody listening the code runs on, as it would.
        let _ = output.send(printed).await;
        Ok(())
    }

    fn positional(&self, arguments: &[Argument]) -> Result<Vec<Value>, Exception> {
        let positional = arguments.iter().filter(|argument| argument.keyword.is_none());
        positional.map(|argument| self.evaluate(&argument.value)).collect()
    }

    fn evaluate(&self, expression: &Expression) -> Result<Value, Exception> {
        match expression {
            Expression::Literal(value) => Ok(value.clone()),
            Expression::Name(name) => self.variables.get(name).cloned().ok_or_else(|| {
                Exception::new("NameError", format!("name '{name}' is not defined"))
            }),
            Expression::List(items) => {
                let items: Result<_, _> = items.iter().map(|item| self.evaluate(item)).collect();
                Ok(Value::List(items?))
            }
            Expression::Format(parts) => {
                let mut text = String::new();
                for part in parts {
                    text.push_str(&self.evaluate(part)?.to_string());
                }
                Ok(Value::Text(text))
            }
            Expression::Negative(inner) => {
                value::binary("-", &Value::Int(0), &self.evaluate(inner)?)
            }
            Expression::Binary(operator, left, right) => {
                value::binary(operator, &self.evaluate(left)?, &self.evaluate(right)?)
            }
            Expression::Call(function, arguments) => {
                value::call(function, &self.positional(arguments)?)
            }
        }
    }
}

fn unknown(what: &str) -> Exception {
    Exception::new(
        "NotImplementedError",
        format!("the simulator's toy Python does not know {what}"),
    )
}

#[cfg(test)]
mod tests;
