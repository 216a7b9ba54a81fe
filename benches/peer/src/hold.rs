//! `hold`: opens connections, sends one request over each, and keeps them open until standard input ends.
//!
//! Says `held` on standard output when all have their answer: what the proxy has grown by then is what idle connections
//! take.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use crate::Failure;
use crate::answer::Answer;
use crate::deck::Deck;
use crate::options::Options;

/// Runs `hold --to ADDRESS --deck FILE --connections N`.
///
/// # Errors
/// A connection that can't be opened, or an answer other than 200.
pub fn run(options: &Options) -> Result<(), Failure> {
    let to: SocketAddr = options.need("to")?;
    let mut deck = Deck::read(&options.need::<String>("deck")?, 0)?;
    let held = (0..options.need("connections")?)
        .map(|_| {
            let number = deck.deal();
            ask(to, deck.request(number))
        })
        .collect::<Result<Vec<_>, _>>()?;
    println!("held");
    io::stdin().read_to_end(&mut Vec::new())?;
    drop(held);
    Ok(())
}

fn ask(to: SocketAddr, request: &[u8]) -> Result<TcpStream, Failure> {
    let mut stream = TcpStream::connect(to)?;
    stream.write_all(request)?;
    let (mut answer, mut buffer) = (Answer::default(), [0; 16 * 1024]);
    loop {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return Err("the connection was closed".into());
        }
        match answer.feed(&buffer[..length])? {
            None => {}
            Some(200) => return Ok(stream),
            Some(status) => return Err(format!("the answer was {status}").into()),
        }
    }
}
