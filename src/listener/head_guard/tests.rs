//! Tests of the guard as its reader sees it. This file has the scripted stream they share.

mod corpus;
mod properties;
mod server;
mod upgrades;
mod waiting;

use std::collections::VecDeque;
use std::task::Waker;

use super::*;

/// A client whose bytes arrive in given pieces; afterwards it is silent, or gone.
#[derive(Default)]
struct Script {
    pieces: VecDeque<Vec<u8>>,
    gone: bool,
}

impl AsyncRead for Script {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Some(piece) = this.pieces.front_mut() else {
            return if this.gone { Poll::Ready(Ok(())) } else { Poll::Pending };
        };
        let count = piece.len().min(buf.remaining());
        buf.put_slice(&piece[..count]);
        piece.drain(..count);
        if piece.is_empty() {
            this.pieces.pop_front();
        }
        Poll::Ready(Ok(()))
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Silent,
    Gone,
    Failed,
}

/// Reads, `room` bytes at a time, until there is nothing more to read now.
fn drain(guard: &mut HeadGuard<Script>, room: usize) -> (Vec<u8>, End) {
    let mut cx = Context::from_waker(Waker::noop());
    let mut all = Vec::new();
    let mut space = vec![0; room];
    loop {
        let mut buf = ReadBuf::new(&mut space);
        match Pin::new(&mut *guard).poll_read(&mut cx, &mut buf) {
            Poll::Pending => return (all, End::Silent),
            Poll::Ready(Err(error)) => {
                assert_eq!(error.kind(), io::ErrorKind::InvalidData);
                return (all, End::Failed);
            }
            Poll::Ready(Ok(())) if buf.filled().is_empty() => return (all, End::Gone),
            Poll::Ready(Ok(())) => all.extend_from_slice(buf.filled()),
        }
    }
}

/// What comes out when these pieces go in.
fn feed(pieces: impl IntoIterator<Item = Vec<u8>>, room: usize) -> (Vec<u8>, End) {
    let pieces = pieces.into_iter().filter(|piece| !piece.is_empty()).collect();
    let (mut guard, _handle) = HeadGuard::new(Script { pieces, gone: false }, Limits::default());
    drain(&mut guard, room)
}

/// Cuts `data` at these places (taken modulo its length).
fn cut(data: &[u8], places: &[usize]) -> Vec<Vec<u8>> {
    let mut places: Vec<_> = places.iter().map(|place| place % (data.len() + 1)).collect();
    places.sort_unstable();
    let mut start = 0;
    let mut pieces = Vec::new();
    for place in places.into_iter().chain([data.len()]) {
        pieces.push(data[start..place].to_vec());
        start = place;
    }
    pieces
}

/// A runtime for its timers, the clock of which stands still.
fn still_clock() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}
