//! The line between two processes as this one uses it: nobody waits to say something, and what is heard can be awaited.
//!
//! Two threads wait in everybody's stead. They end with the line.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::platform::link::{self, Link};

/// Something said, and the descriptor that goes with it.
type Said = (Vec<u8>, Option<OwnedFd>);

/// This process's end. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Line {
    link: Link,
    /// What is to be said; `Err`: nothing more, and whom to tell when all is said.
    queue: Sender<Result<Said, Sender<()>>>,
}

/// What the other process says, and what it hands over with it. Ends when that process does.
pub(super) type Hearing<M> = UnboundedReceiver<(M, Option<OwnedFd>)>;

impl Line {
    /// Begins to speak and to listen.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(super) fn open<M>(link: Link) -> io::Result<(Self, Hearing<M>)>
    where
        M: DeserializeOwned + Send + 'static,
    {
        let (queue, said) = channel::<Result<Said, Sender<()>>>();
        let speaking = link.clone();
        let thread = std::thread::Builder::new().name("handover-out".to_owned());
        thread.spawn(move || {
            while let Ok(Ok((message, descriptor))) = said.recv() {
                let descriptor = descriptor.as_ref().map(OwnedFd::as_fd);
                match speaking.send(&message, descriptor) {
                    Ok(()) => {}
                    // Which the listener finds out, too.
                    Err(cause) if link::is_gone(&cause) => return,
                    Err(cause) => {
                        let bytes = message.len();
                        tracing::error!(%cause, bytes, "the other process could not be told something");
                    }
                }
            }
        })?;
        let (heard, hearing) = unbounded_channel();
        let listening = link.clone();
        let thread = std::thread::Builder::new().name("handover-in".to_owned());
        thread.spawn(move || {
            let mut buffer = Vec::new();
            loop {
                let descriptor = match listening.receive(&mut buffer) {
                    Ok(Some(descriptor)) => descriptor,
                    Ok(None) => return,
                    Err(cause) => {
                        tracing::error!(%cause, "the other process cannot be heard any more");
                        return;
                    }
                };
                match serde_json::from_slice(&buffer) {
                    Ok(message) => {
                        if heard.send((message, descriptor)).is_err() {
                            return;
                        }
                    }
                    Err(cause) => tracing::warn!(%cause, "the other process was not understood"),
                }
            }
        })?;
        Ok((Self { link, queue }, hearing))
    }

    /// Says something, if the other process is still there.
    pub(super) fn say(&self, message: &impl Serialize, descriptor: Option<OwnedFd>) {
        if let Ok(bytes) = serde_json::to_vec(message) {
            let _ = self.queue.send(Ok((bytes, descriptor)));
        }
    }

    /// Waits until all is said, and hangs up.
    pub(super) fn finish(&self, patience: Duration) {
        let (done, all_said) = channel();
        if self.queue.send(Err(done)).is_ok() {
            // An error: the speaker is gone, and with it the other end of this, which is the sign.
            let _ = all_said.recv_timeout(patience);
        }
        self.link.close();
    }
}
