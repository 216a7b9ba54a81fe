//! What somebody hears who speaks HTTP without TLS where TLS is spoken.
//!
//! A constant, whatever was asked: nothing of a request that came in clear text is looked at or goes any further.

use std::io;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::linger;

const ANSWER: &str = "HTTP/1.1 400 Bad Request\r\n\
    Content-Type: application/json\r\n\
    Content-Length: 112\r\n\
    Connection: close\r\n\r\n\
    {\"code\":400,\"message\":\"This port speaks TLS: ask for https:// in place of http://\",\
    \"error_code\":\"tls_required\"}\n";

/// Answers, and waits a little for the client to hear it.
pub(super) async fn answer(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(ANSWER.as_bytes()).await?;
    linger::until_heard(stream).await
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
