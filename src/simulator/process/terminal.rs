//! A toy terminal: echoes what is typed, runs each line in the toy shell, and prints a prompt.
//!
//! Knows backspace, Ctrl-C and Ctrl-D. What a command prints gets a carriage return before each line feed.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::super::shell::{Shell, Sink};
use super::table::{Channel, Process};

const CTRL_C: u8 = 3;
const CTRL_D: u8 = 4;
const BACKSPACE: u8 = 8;
const DELETE: u8 = 127;
const INTERRUPTED: i32 = 130;

/// Runs until `exit`, Ctrl-D, or the end of input; the exit code.
pub(super) async fn run(
    mut shell: Shell,
    process: &Arc<Process>,
    mut input: mpsc::Receiver<Bytes>,
) -> i32 {
    let mut typed = VecDeque::new();
    process.emit(Channel::Pty, shell.prompt().as_bytes()).await;
    loop {
        let Some(line) = read_line(process, &mut input, &mut typed).await else {
            process.emit(Channel::Pty, b"exit\r\n").await;
            return shell.status;
        };
        if let Some(size) = process.size() {
            shell.variables.insert("COLUMNS".to_owned(), size.cols.to_string());
            shell.variables.insert("LINES".to_owned(), size.rows.to_string());
        }
        let sink = Sink::of(process);
        let interrupted = tokio::select! {
            _ = shell.run(&line, &sink) => false,
            () = interrupt(&mut input, &mut typed) => true,
        };
        if interrupted {
            process.emit(Channel::Pty, b"^C\r\n").await;
            shell.status = INTERRUPTED;
        }
        if shell.exited {
            return shell.status;
        }
        process.emit(Channel::Pty, shell.prompt().as_bytes()).await;
    }
}

/// A line as typed, echoed; `None` when there is no more.
async fn read_line(
    process: &Process,
    input: &mut mpsc::Receiver<Bytes>,
    typed: &mut VecDeque<u8>,
) -> Option<String> {
    let mut line = Vec::new();
    loop {
        let mut echo = Vec::new();
        while let Some(byte) = typed.pop_front() {
            match byte {
                b'\r' | b'\n' => {
                    echo.extend_from_slice(b"\r\n");
                    process.emit(Channel::Pty, &echo).await;
                    return Some(String::from_utf8_lossy(&line).into_owned());
                }
                CTRL_C => {
                    echo.extend_from_slice(b"^C\r\n");
                    process.emit(Channel::Pty, &echo).await;
                    return Some(String::new());
                }
                CTRL_D if line.is_empty() => return None,
                CTRL_D => {}
                BACKSPACE | DELETE => {
                    if line.pop().is_some() {
                        echo.extend_from_slice(b"\x08 \x08");
                    }
                }
                other => {
                    line.push(other);
                    echo.push(other);
                }
            }
        }
        if !echo.is_empty() {
            process.emit(Channel::Pty, &echo).await;
        }
        typed.extend(input.recv().await?);
    }
}

/// Collects what is typed while a command runs, until it is Ctrl-C.
async fn interrupt(input: &mut mpsc::Receiver<Bytes>, typed: &mut VecDeque<u8>) {
    while let Some(bytes) = input.recv().await {
        if bytes.contains(&CTRL_C) {
            typed.clear();
            return;
        }
        typed.extend(bytes);
    }
    std::future::pending().await
}
