//! What the benches need beside Python: `load` drives a proxy, `hold` keeps idle connections open, `service` takes
//! uploads and WebSocket messages, `proxy` is a bare reverse proxy of axum and hyper-util to compare with.
//!
//! A tool for the loopback interface, driven by the programs beside it: what goes wrong ends it with a message.

mod answer;
mod deck;
mod hold;
mod load;
mod options;
mod proxy;
mod service;

use std::error::Error;
use std::process::ExitCode;

use options::Options;

/// Whatever went wrong, for the message at the end.
type Failure = Box<dyn Error>;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next().unwrap_or_default();
    let run = || -> Result<(), Failure> {
        let options = Options::read(arguments)?;
        match command.as_str() {
            "load" => load::run(&options),
            "hold" => hold::run(&options),
            "service" => service::run(&options),
            "proxy" => proxy::run(&options),
            _ => Err("usage: bench-peer load|hold|service|proxy --NAME VALUE…".into()),
        }
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("bench-peer {command}: {why}");
            ExitCode::FAILURE
        }
    }
}
