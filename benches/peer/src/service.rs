//! `service`: an upstream for what nginx can't be one for. It reads bodies to their end before it answers, and sends
//! short WebSocket messages back. A thread for each connection.
//!
//! It knows as much of RFC 6455 as `load` speaks: whole frames of at most 125 bytes, masked, and the one key of the
//! RFC's own example, so that neither needs SHA-1.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use crate::Failure;
use crate::options::Options;

/// Answers the key `dGhlIHNhbXBsZSBub25jZQ==` (RFC 6455, section 1.3).
const SWITCHED: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
Sec-WebSocket-Accept: s3pPLMBiTK9kYzhZRbK+xOo=\r\n\r\n";
const TAKEN: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// Runs `service --listen ADDRESS` until it is stopped.
///
/// # Errors
/// An address that can't be listened on.
pub fn run(options: &Options) -> Result<(), Failure> {
    let listener = TcpListener::bind(options.need::<SocketAddr>("listen")?)?;
    for stream in listener.incoming() {
        let stream = stream?;
        // A connection ends with its client; nobody waits for how.
        thread::spawn(move || serve(stream).is_ok());
    }
    Ok(())
}

fn serve(mut stream: TcpStream) -> Result<(), Failure> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(256 * 1024, stream.try_clone()?);
    while let Some(head) = read_head(&mut reader)? {
        if head.contains("\nupgrade:") {
            stream.write_all(SWITCHED)?;
            return echo(reader, stream);
        }
        if head.contains("\ntransfer-encoding:") {
            return Err("a body of unknown length".into());
        }
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length = length.map_or(Ok(0), |length| length.trim().parse())?;
        if io::copy(&mut reader.by_ref().take(length), &mut io::sink())? < length {
            return Err("a body that ends early".into());
        }
        stream.write_all(TAKEN)?;
    }
    Ok(())
}

/// In lower case. `None` where the connection ends.
fn read_head(reader: &mut BufReader<TcpStream>) -> Result<Option<String>, Failure> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(None);
        }
    }
    Ok(Some(head.to_ascii_lowercase()))
}

fn echo(mut reader: BufReader<TcpStream>, mut stream: TcpStream) -> Result<(), Failure> {
    let mut frame = [0; 6 + 125];
    loop {
        reader.read_exact(&mut frame[..2])?;
        let length = usize::from(frame[1] & 0x7f);
        if length > 125 {
            return Err("a long message".into());
        }
        reader.read_exact(&mut frame[2..6 + length])?;
        let mask = [frame[2], frame[3], frame[4], frame[5]];
        let mut answer = Vec::with_capacity(2 + length);
        answer.extend([frame[0], frame[1] & 0x7f]);
        answer.extend(
            frame[6..6 + length].iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask),
        );
        stream.write_all(&answer)?;
    }
}
