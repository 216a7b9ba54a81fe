//! The end of a connection whose client should hear the last word.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Most bytes read and thrown away behind the last word.
const MAX_DRAINED: u64 = 256 * 1024;
/// How long the client may keep sending. Closing earlier could make its system drop the last word.
const LINGER: Duration = Duration::from_secs(1);

/// Says that nothing more will come, and waits a little for the client to hear what did.
pub(super) async fn until_heard(stream: &mut TcpStream) -> io::Result<()> {
    stream.shutdown().await?;
    let mut rest = stream.take(MAX_DRAINED);
    // Who is still talking then does not listen.
    let _ = timeout(LINGER, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
    Ok(())
}
