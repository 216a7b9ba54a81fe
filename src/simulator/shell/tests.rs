//! What the toy shell prints and how it exits.

use super::*;
use crate::simulator::Options;
use crate::simulator::state::{NewSandbox, World};

fn sandbox() -> Arc<Sandbox> {
    let world = World::new(Options::default(), ([127, 0, 0, 1], 1).into()).unwrap();
    let spec: NewSandbox =
        serde_json::from_str(r#"{"templateID":"base","envVars":{"FOO":"bar baz"}}"#).unwrap();
    world.create(spec, "base".to_owned(), None, 60, crate::simulator::files::Files::new())
}

/// Standard output, standard error, exit code.
async fn run_with(text: &str, input: &str) -> (String, String, i32) {
    let mut shell = Shell::new(sandbox(), "user", "/home/user");
    shell.input = Input::Buffer(input.as_bytes().to_vec());
    let ((out, out_buffer), (err, err_buffer)) = (Output::buffer(), Output::buffer());
    let code = shell.run(text, &Sink { out, err }).await;
    let text = |buffer: &Mutex<Vec<u8>>| String::from_utf8(locked(buffer).clone()).unwrap();
    (text(&out_buffer), text(&err_buffer), code)
}

#[tokio::test]
async fn prints_as_bash_would() {
    for (script, expected) in [
        ("echo a  b 'c  d' \"e  $FOO\"", "a b c  d e  bar baz\n"),
        ("printf '%s-%d\\n' a 1 b 2", "a-1\nb-2\n"),
        ("echo -n x; echo -e 'a\\tb'", "xa\tb\n"),
        ("for i in 1 2 3; do echo $i; done", "1\n2\n3\n"),
        ("for i in $(seq 2); do for j in {1..2}; do echo $i$j; done; done", "11\n12\n21\n22\n"),
        ("false && echo no; false || echo yes; true && echo on", "yes\non\n"),
        ("for w in $FOO; do echo [$w]; done", "[bar]\n[baz]\n"),
        ("X=1; Y=\"$X 2\"; echo ${Y}3 $Z end", "1 23 end\n"),
        ("echo one two | wc -c", "8\n"),
        ("seq 5 | head -n 2", "1\n2\n"),
        ("echo x > f; echo y >> f; cat f", "x\ny\n"),
        ("cat nothing 2>/dev/null; echo $?", "1\n"),
        ("{ echo a; (echo b); } | cat", "a\nb\n"),
        ("mkdir -p a/b && cd a && pwd && ls", "/home/user/a\nb\n"),
        ("bash -c 'echo in; exit 3'; echo $?", "in\n3\n"),
        ("echo a # not this\necho b", "a\nb\n"),
        ("echo $HOME ~ ~/x", "/home/user /home/user /home/user/x\n"),
        ("head -c 3 /dev/zero", "\0\0\0"),
        ("whoami; uname", "user\nLinux\n"),
    ] {
        let (out, err, _) = run_with(script, "").await;
        assert_eq!((out.as_str(), err.as_str()), (expected, ""), "{script}");
    }
}

#[tokio::test]
async fn exit_codes_and_errors() {
    for (script, code, complaint) in [
        ("exit 7; echo never", 7, ""),
        ("false", 1, ""),
        ("echo a >&2", 0, "a\n"),
        ("printenv NOTHING", 1, ""),
    ] {
        assert_eq!(
            run_with(script, "").await,
            (String::new(), complaint.to_owned(), code),
            "{script}"
        );
    }
    for (script, code, part) in [
        ("frobnicate", 127, "frobnicate: command not found (this is a simulator"),
        ("echo 'open", 2, "unexpected EOF"),
        ("if true; then echo; fi", 2, "`if` is not supported"),
        ("sleep 1 &", 2, "background"),
        ("for i in 1; do", 2, "unexpected EOF"),
        ("echo )", 2, "unexpected token `)'"),
        ("&& echo", 2, "unexpected token `&'"),
        ("sleep -1", 2, "invalid time interval"),
        ("cd /nowhere", 1, "path not found: /nowhere"),
    ] {
        let (_, err, have) = run_with(script, "").await;
        assert!(have == code && err.contains(part), "{script}: {have} {err}");
    }
}

#[tokio::test]
async fn cat_copies_stdin() {
    assert_eq!(run_with("cat; echo end", "in\n").await.0, "in\nend\n");
}

proptest::proptest! {
    /// Text from a client is parsed or refused, never a panic, and deep nesting does not overflow the stack.
    #[test]
    fn parsing_survives_anything(text in "[a-z $(){};|&<>'\"\\\\=\n#~.0-9]{0,200}", depth in 0..5_000_usize) {
        let _ = syntax::parse(&text);
        let _ = syntax::parse(&"$(".repeat(depth));
        let _ = syntax::parse(&"( ".repeat(depth));
    }
}
