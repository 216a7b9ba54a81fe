//! The toy Python's values, operators and functions.

use std::fmt;

use super::{Exception, unknown};

/// Longest list or text made by one operation.
const LIMIT: usize = 1_000_000;

#[derive(Clone, PartialEq)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Value>),
}

impl Value {
    pub(super) fn as_float(&self) -> Option<f64> {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "as Python's own conversion")]
            Self::Int(int) => Some(*int as f64),
            Self::Float(float) => Some(*float),
            Self::None | Self::Bool(_) | Self::Text(_) | Self::List(_) => None,
        }
    }

    /// As `repr()`.
    pub(super) fn repr(&self) -> String {
        match self {
            Self::Text(text) => {
                let escaped = text.replace('\\', r"\\").replace('\n', r"\n");
                if text.contains('\'') && !text.contains('"') {
                    format!("\"{escaped}\"")
                } else {
                    format!("'{}'", escaped.replace('\'', r"\'"))
                }
            }
            Self::None | Self::Bool(_) | Self::Int(_) | Self::Float(_) | Self::List(_) => {
                self.to_string()
            }
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::None => "NoneType",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::Text(_) => "str",
            Self::List(_) => "list",
        }
    }
}

/// As `str()`.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Bool(true) => f.write_str("True"),
            Self::Bool(false) => f.write_str("False"),
            Self::Int(int) => write!(f, "{int}"),
            Self::Float(float) => write!(f, "{float:?}"),
            Self::Text(text) => f.write_str(text),
            Self::List(items) => {
                let items: Vec<_> = items.iter().map(Self::repr).collect();
                write!(f, "[{}]", items.join(", "))
            }
        }
    }
}

/// Applies an operator.
pub(super) fn binary(operator: &str, left: &Value, right: &Value) -> Result<Value, Exception> {
    match (operator, left, right) {
        ("==", left, right) => Ok(Value::Bool(equal(left, right))),
        ("!=", left, right) => Ok(Value::Bool(!equal(left, right))),
        (operator, Value::Int(left), Value::Int(right)) => integers(operator, *left, *right),
        ("+", Value::Text(left), Value::Text(right)) => Ok(Value::Text(format!("{left}{right}"))),
        ("+", Value::List(left), Value::List(right)) => {
            Ok(Value::List([left.as_slice(), right].concat()))
        }
        ("*", Value::Text(text), Value::Int(count))
        | ("*", Value::Int(count), Value::Text(text)) => {
            let count = usize::try_from(*count).unwrap_or(0);
            if text.len().saturating_mul(count) > LIMIT {
                return Err(Exception::new("MemoryError", ""));
            }
            Ok(Value::Text(text.repeat(count)))
        }
        (operator, left, right) => match (left.as_float(), right.as_float()) {
            (Some(left), Some(right)) => floats(operator, left, right),
            (Some(_), None) | (None, _) => Err(Exception::new(
                "TypeError",
                format!(
                    "unsupported operand type(s) for {operator}: '{}' and '{}'",
                    left.kind(),
                    right.kind()
                ),
            )),
        },
    }
}

fn equal(left: &Value, right: &Value) -> bool {
    match (left.as_float(), right.as_float()) {
        (Some(left), Some(right)) => left.total_cmp(&right).is_eq(),
        (Some(_), None) | (None, _) => left == right,
    }
}

fn no_division() -> Exception {
    Exception::new("ZeroDivisionError", "division by zero")
}

fn integers(operator: &str, left: i64, right: i64) -> Result<Value, Exception> {
    let result = match operator {
        "+" => left.checked_add(right),
        "-" => left.checked_sub(right),
        "*" => left.checked_mul(right),
        "//" | "%" | "/" if right == 0 => return Err(no_division()),
        "//" => left.checked_div_euclid(right).and_then(|quotient| {
            // Python rounds down, Rust's Euclidean division keeps the remainder positive.
            if right < 0 && left.rem_euclid(right) != 0 {
                quotient.checked_sub(1)
            } else {
                Some(quotient)
            }
        }),
        "%" => left
            .checked_rem(right)
            .map(|rest| if rest != 0 && (rest < 0) != (right < 0) { rest + right } else { rest }),
        "**" if right >= 0 => u32::try_from(right).ok().and_then(|right| left.checked_pow(right)),
        "<" => return Ok(Value::Bool(left < right)),
        "<=" => return Ok(Value::Bool(left <= right)),
        ">" => return Ok(Value::Bool(left > right)),
        ">=" => return Ok(Value::Bool(left >= right)),
        _ => {
            let float = |int| Value::Int(int).as_float().unwrap_or_default();
            return floats(operator, float(left), float(right));
        }
    };
    result
        .map(Value::Int)
        .ok_or_else(|| Exception::new("OverflowError", "the simulator's integers have 64 bits"))
}

fn floats(operator: &str, left: f64, right: f64) -> Result<Value, Exception> {
    let result = match operator {
        "+" => left + right,
        "-" => left - right,
        "*" => left * right,
        "/" | "//" | "%" if right == 0.0 => return Err(no_division()),
        "/" => left / right,
        "//" => (left / right).floor(),
        "%" => left - right * (left / right).floor(),
        "**" => left.powf(right),
        "<" => return Ok(Value::Bool(left < right)),
        "<=" => return Ok(Value::Bool(left <= right)),
        ">" => return Ok(Value::Bool(left > right)),
        ">=" => return Ok(Value::Bool(left >= right)),
        other => return Err(unknown(other)),
    };
    Ok(Value::Float(result))
}

/// Calls a function that only computes.
pub(super) fn call(function: &str, arguments: &[Value]) -> Result<Value, Exception> {
    match (function, arguments) {
        ("str", [value]) => Ok(Value::Text(value.to_string())),
        ("repr", [value]) => Ok(Value::Text(value.repr())),
        ("len", [Value::Text(text)]) => Ok(length(text.chars().count())),
        ("len", [Value::List(items)]) => Ok(length(items.len())),
        ("abs", [Value::Int(int)]) => Ok(Value::Int(int.saturating_abs())),
        ("int", [Value::Text(text)]) => text.trim().parse().map(Value::Int).map_err(|_| {
            let text = Value::Text(text.clone()).repr();
            Exception::new("ValueError", format!("invalid literal for int() with base 10: {text}"))
        }),
        ("int", [Value::Int(int)]) => Ok(Value::Int(*int)),
        ("sum", [Value::List(items)]) => {
            items.iter().try_fold(Value::Int(0), |sum, item| binary("+", &sum, item))
        }
        ("range", [Value::Int(to)]) => range(0, *to),
        ("range", [Value::Int(from), Value::Int(to)]) => range(*from, *to),
        ("str" | "repr" | "len" | "abs" | "int" | "sum" | "range", _) => {
            Err(Exception::new("TypeError", format!("{function}() got the wrong arguments")))
        }
        ("print" | "time.sleep" | "sleep", _) => Err(unknown("such a call inside an expression")),
        (name, _) if name.contains('.') => Err(unknown(&format!("{name}()"))),
        (name, _) => Err(Exception::new("NameError", format!("name '{name}' is not defined"))),
    }
}

fn length(length: usize) -> Value {
    Value::Int(i64::try_from(length).unwrap_or(i64::MAX))
}

fn range(from: i64, to: i64) -> Result<Value, Exception> {
    if usize::try_from(to.saturating_sub(from)).is_ok_and(|length| length > LIMIT) {
        return Err(Exception::new("MemoryError", "the simulator's ranges end at a million"));
    }
    Ok(Value::List((from..to).map(Value::Int).collect()))
}
