//! Binds what the settings say, before anything is started that would need it.

use std::io;

use super::StartError;
use crate::config::{Listen, Settings};
use crate::listener::bind;
use crate::route::{Listener, PortLabel};
use crate::worker::Socket;

/// Where the gateway listens, and the sockets of each worker.
type Sockets = (Vec<(Listen, Listener)>, Vec<Vec<Socket>>);

/// Binds everything, and deals the sockets out.
pub(super) fn for_workers(settings: &Settings, workers: usize) -> Result<Sockets, StartError> {
    let mut listening = Vec::new();
    let mut dealt: Vec<Vec<Socket>> = (0..workers).map(|_| Vec::new()).collect();
    let one_port = settings.server.one_port;
    let control = settings.server.listen.iter().map(|at| (at, Listener::Control { one_port }));
    let data =
        settings.server.envd_listen.iter().map(|data| (&data.at, Listener::Data(data.label)));
    for (at, listener) in control.chain(data) {
        let (bound, address) = bind(at, workers)?;
        match listener {
            Listener::Control { .. } => tracing::info!(%address, "listening for the control plane"),
            Listener::Data(PortLabel::Port(port)) => {
                tracing::info!(%address, port, "listening for a sandbox port");
            }
            Listener::Data(PortLabel::Every) => {
                tracing::info!(%address, port = "*", "listening for every sandbox port");
            }
        }
        for (worker, socket) in dealt.iter_mut().zip(bound) {
            worker.push(Socket { listener, socket });
        }
        listening.push((address, listener));
    }
    Ok((listening, dealt))
}

/// Binds what operators ask. One thread serves all of it.
pub(super) fn for_operators(settings: &Settings) -> Result<Vec<bind::Socket>, StartError> {
    let mut sockets = Vec::new();
    for at in &settings.server.ops_listen {
        let (bound, address) = bind(at, 1)?;
        tracing::info!(%address, "listening for metrics and health");
        sockets.extend(bound);
    }
    Ok(sockets)
}

/// That many sockets, and where they are bound in the end: a port of 0 has become a free one.
fn bind(at: &Listen, count: usize) -> Result<(Vec<bind::Socket>, Listen), StartError> {
    let bound = match at {
        Listen::Tcp(address) => {
            bind::tcp(*address, count).map(|(sockets, address)| (sockets, Listen::Tcp(address)))
        }
        Listen::Unix(path) => bind::unix(path, count).map(|sockets| (sockets, at.clone())),
    };
    bound.map_err(|cause: io::Error| StartError::Listen { address: at.to_string(), cause })
}
