//! Has every socket that the settings say, before anything is started that would need it: bound here, or opened by
//! somebody else.

use std::io;
use std::os::fd::OwnedFd;

use super::StartError;
use crate::config::{Listen, Settings};
use crate::listener::bind::{self, Socket};
use crate::route::{Listener, PortLabel};
use crate::worker;

/// What a listening socket is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// The control plane.
    Api,
    /// The data plane.
    Envd,
    /// Metrics and health.
    Ops,
}

impl Purpose {
    /// All of them, in the order of sockets without names.
    pub const ALL: [Self; 3] = [Self::Api, Self::Envd, Self::Ops];

    /// What a socket for it is called.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Envd => "envd",
            Self::Ops => "ops",
        }
    }

    /// The purpose of that name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.name() == name)
    }
}

/// In whose stead a socket is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// What it is for.
    pub purpose: Purpose,
    /// The address as it was set; none: it is there instead of all that is set.
    pub setting: Option<String>,
    /// Which one, of several with the same purpose and address.
    pub nth: usize,
}

/// Sockets that somebody else opened: a service manager, or the process that this one replaces. Those that share an
/// address share a place.
#[derive(Debug, Default)]
pub struct Given(pub Vec<(Place, Socket)>);

impl Given {
    /// Sockets that a service manager opened, each for what its name says; those without a name that says something are
    /// for the control plane, the data plane and operators, in that order.
    ///
    /// # Errors
    /// There are more of them than that, or one is of no use.
    pub fn named(sockets: Vec<(String, OwnedFd)>) -> Result<Self, StartError> {
        let mut in_order = Purpose::ALL.into_iter();
        let mut given = Self::default();
        for (name, socket) in sockets {
            let purpose = Purpose::of_name(&name).or_else(|| in_order.next());
            let purpose = purpose.ok_or_else(|| {
                StartError::Inherited(format!(
                    "nothing says what '{name}' is for: name it api, envd or ops"
                ))
            })?;
            let socket = Socket::adopt(socket);
            let socket = socket.map_err(|why| StartError::Inherited(format!("'{name}': {why}")))?;
            let nth = given.instead(purpose);
            given.0.push((Place { purpose, setting: None, nth }, socket));
        }
        Ok(given)
    }

    /// The sockets of a place.
    fn take(&mut self, place: &Place) -> Vec<Socket> {
        self.0.extract_if(.., |(own, _)| own == place).map(|(_, socket)| socket).collect()
    }

    /// How many were opened for a purpose instead of all that is set.
    fn instead(&self, purpose: Purpose) -> usize {
        let of_it = |place: &&Place| place.purpose == purpose && place.setting.is_none();
        self.0
            .iter()
            .map(|(place, _)| place)
            .filter(of_it)
            .map(|place| place.nth + 1)
            .max()
            .unwrap_or(0)
    }
}

/// What the gateway listens on in one place.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) place: Place,
    pub(super) listener: Listener,
    /// Where that is in the end: a port of 0 has become a free one.
    pub(super) address: Listen,
    pub(super) sockets: Vec<Socket>,
}

/// Opens what clients reach.
pub(super) fn for_clients(
    settings: &Settings,
    workers: usize,
    given: &mut Given,
) -> Result<Vec<Opened>, StartError> {
    let server = &settings.server;
    let control = Listener::Control { one_port: server.one_port };
    let api: Vec<_> = server.listen.iter().map(|at| (at, control)).collect();
    let envd: Vec<_> =
        server.envd_listen.iter().map(|data| (&data.at, Listener::Data(data.label))).collect();
    let mut opened = open(Purpose::Api, &api, workers, given, |_, _| control)?;
    opened.extend(open(Purpose::Envd, &envd, workers, given, |nth, address| {
        match (envd.get(nth), address) {
            (Some((_, listener)), _) => *listener,
            (None, Listen::Tcp(address)) => Listener::Data(PortLabel::Port(address.port())),
            (None, Listen::Unix(_)) => Listener::Data(PortLabel::Every),
        }
    })?);
    for Opened { address, listener, .. } in &opened {
        match listener {
            Listener::Control { .. } => tracing::info!(%address, "listening for the control plane"),
            Listener::Data(PortLabel::Port(port)) => {
                tracing::info!(%address, port, "listening for a sandbox port");
            }
            Listener::Data(PortLabel::Every) => {
                tracing::info!(%address, port = "*", "listening for every sandbox port");
            }
        }
    }
    Ok(opened)
}

/// Warns of sockets that somebody else opened, which are in clear text although certificates are asked for elsewhere; of those
/// that are set, the settings say so.
pub(super) fn warn_of_clear_text(settings: &Settings, opened: &[Opened]) {
    let clients = settings.server.tls.as_ref().and_then(|offer| offer.clients());
    if clients.is_some_and(|clients| clients.are_required) {
        for Opened { place, address, .. } in opened {
            if let (None, Listen::Unix(_)) = (&place.setting, address) {
                tracing::warn!(
                    "the inherited socket {address} is in clear text and asks for no certificate: whoever may open it is let in"
                );
            }
        }
    }
}

/// Opens what operators ask. One thread serves all of it.
pub(super) fn for_operators(
    settings: &Settings,
    given: &mut Given,
) -> Result<Vec<Opened>, StartError> {
    let nobody = Listener::Control { one_port: false };
    let ops: Vec<_> = settings.server.ops_listen.iter().map(|at| (at, nobody)).collect();
    let opened = open(Purpose::Ops, &ops, 1, given, |_, _| nobody)?;
    for Opened { address, .. } in &opened {
        tracing::info!(%address, "listening for metrics and health");
    }
    Ok(opened)
}

/// Opens all that is set for one purpose, or takes what somebody opened instead.
fn open(
    purpose: Purpose,
    set: &[(&Listen, Listener)],
    workers: usize,
    given: &mut Given,
    listener_of: impl Fn(usize, &Listen) -> Listener,
) -> Result<Vec<Opened>, StartError> {
    let mut opened: Vec<Opened> = Vec::new();
    let instead = given.instead(purpose);
    for nth in 0..instead {
        let place = Place { purpose, setting: None, nth };
        let sockets = given.take(&place);
        let failed = |cause| StartError::Listen { address: purpose.name().to_owned(), cause };
        let address = address(&sockets).map_err(failed)?;
        let listener = listener_of(nth, &address);
        opened.push(Opened { place, listener, address, sockets });
    }
    if instead > 0 {
        return Ok(opened);
    }
    for (at, listener) in set {
        let setting = Some(at.to_string());
        let nth = opened.iter().filter(|earlier| earlier.place.setting == setting).count();
        let place = Place { purpose, setting, nth };
        let failed = |cause| StartError::Listen { address: at.to_string(), cause };
        let sockets = match given.take(&place) {
            none if none.is_empty() => bind(at, workers).map_err(failed)?,
            sockets => sockets,
        };
        let address = address(&sockets).map_err(failed)?;
        opened.push(Opened { place, listener: *listener, address, sockets });
    }
    Ok(opened)
}

fn bind(at: &Listen, workers: usize) -> io::Result<Vec<Socket>> {
    match at {
        Listen::Tcp(address) => bind::tcp(*address, workers).map(|(sockets, _)| sockets),
        Listen::Unix(path) => bind::unix(path).map(|socket| vec![socket]),
    }
}

/// Where sockets are bound that share an address.
fn address(sockets: &[Socket]) -> io::Result<Listen> {
    match sockets.first() {
        Some(Socket::Tcp(socket)) => Ok(Listen::Tcp(socket.local_addr()?)),
        Some(Socket::Unix(socket)) => {
            let address = socket.local_addr()?;
            Ok(Listen::Unix(address.as_pathname().unwrap_or("unnamed".as_ref()).to_owned()))
        }
        None => Err(io::ErrorKind::NotFound.into()),
    }
}

/// Deals sockets out. Every socket goes to some worker, as clients may be waiting on it already, and every worker gets one
/// of each place, if it has to share it.
pub(super) fn deal(opened: &[Opened], workers: usize) -> io::Result<Vec<Vec<worker::Socket>>> {
    let mut dealt: Vec<Vec<worker::Socket>> = (0..workers).map(|_| Vec::new()).collect();
    for Opened { listener, sockets, .. } in opened {
        let count = workers.max(sockets.len());
        for (number, socket) in sockets.iter().cycle().take(count).enumerate() {
            if let Some(part) = dealt.get_mut(number % workers.max(1)) {
                part.push(worker::Socket { listener: *listener, socket: socket.try_clone()? });
            }
        }
    }
    Ok(dealt)
}
