//! What somebody hears who speaks HTTP without TLS where TLS is spoken.
//!
//! A constant, whatever was asked: nothing of a request that came in clear text is looked at or goes any further.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Most bytes read and thrown away behind the answer.
const MAX_DRAINED: u64 = 256 * 1024;
/// How long the client may keep sending. Closing earlier could make its system drop the answer.
const LINGER: Duration = Duration::from_secs(1);

const ANSWER: &str = "HTTP/1.1 400 Bad Request\r\n\
    Content-Type: application/json\r\n\
    Content-Length: 112\r\n\
    Connection: close\r\n\r\n\
    {\"code\":400,\"message\":\"This port speaks TLS: ask for https:// in place of http://\",\
    \"error_code\":\"tls_required\"}\n";

/// Answers, and waits a little for the client to hear it.
pub(super) async fn answer(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(ANSWER.as_bytes()).await?;
    stream.shutdown().await?;
    let mut rest = stream.take(MAX_DRAINED);
    // Who is still talking then does not listen.
    let _ = timeout(LINGER, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_as_long_as_it_says() {
        let (head, body) = ANSWER.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{}", body.len());
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["code"], 400);
    }
}
