//! What the toy Python prints, answers and raises.

use super::*;

async fn run(code: &str) -> (String, Result<Option<String>, Exception>) {
    let (sender, mut receiver) = mpsc::channel(1_000);
    let outcome = Python::default().run(code, sender).await;
    let mut text = String::new();
    while let Some(printed) = receiver.recv().await {
        match printed {
            Printed::Stdout(line) => text.push_str(&line),
            Printed::Stderr(line) => text.push_str(&format!("!{line}")),
        }
    }
    (text, outcome)
}

#[tokio::test]
async fn answers_as_python_would() {
    for (code, printed, result) in [
        ("1 + 2 * 3", "", Some("7")),
        ("-2 ** 2", "", Some("-4")),
        ("7 // -2", "", Some("-4")),
        ("x = 'a'\nx * 3 + \"b\"", "", Some("'aaab'")),
        ("print('a', 1, 2.5, None, [1, 'x'])", "a 1 2.5 None [1, 'x']\n", None),
        ("print('a', end='')\nprint(f'{1 + 1} {{x}}')", "a2 {x}\n", None),
        ("for i in range(3): print(i)", "0\n1\n2\n", None),
        ("t = 0\nfor i in range(1, 4):\n    t += i\n    print(t)\nt", "1\n3\n6\n", Some("6")),
        ("for a in [1, 2]:\n  for b in [3]:\n    print(a, b)", "1 3\n2 3\n", None),
        ("import time; time.sleep(0); len('abc')", "", Some("3")),
        ("print(\n  1,\n  2)", "1 2\n", None),
        ("import sys\nprint('e', file=sys.stderr)", "!e\n", None),
        ("10 / 4", "", Some("2.5")),
        ("-7 % 3 == 2", "", Some("True")),
        ("\"it's\"", "", Some("\"it's\"")),
        ("# only this", "", None),
    ] {
        let (text, outcome) = run(code).await;
        assert_eq!((text.as_str(), outcome.unwrap().as_deref()), (printed, result), "{code}");
    }
}

#[tokio::test]
async fn raises_as_python_would() {
    for (code, name, value) in [
        ("y", "NameError", "name 'y' is not defined"),
        ("raise ValueError('no')", "ValueError", "no"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt", ""),
        ("1 / 0", "ZeroDivisionError", "division by zero"),
        ("int('x')", "ValueError", "invalid literal for int() with base 10: 'x'"),
        ("'a' + 1", "TypeError", "unsupported operand type(s) for +: 'str' and 'int'"),
        ("9223372036854775807 + 1", "OverflowError", "the simulator's integers have 64 bits"),
        ("  1", "IndentationError", "unexpected indent"),
        ("1, 2", "SyntaxError", "invalid syntax"),
        ("'a", "SyntaxError", "unterminated string literal"),
        ("def f(): pass", "NotImplementedError", "the simulator's toy Python does not know `def`"),
        ("'x' * 9999999", "MemoryError", ""),
    ] {
        let expected = Exception { name: name.to_owned(), value: value.to_owned() };
        assert_eq!(run(code).await.1, Err(expected), "{code}");
    }
}

proptest::proptest! {
    /// Text from a client is parsed or refused, never a panic, and deep nesting does not overflow the stack.
    #[test]
    fn parsing_survives_anything(code in "[a-z ()\\[\\]{}'\"f:;=+*/.,0-9\n-]{0,200}", depth in 0..5_000_usize) {
        let _ = syntax::parse(&code);
        let _ = syntax::parse(&"(".repeat(depth));
        let _ = syntax::parse(&"2**".repeat(depth));
        let _ = syntax::parse(&"for i in x: ".repeat(depth));
    }
}
