//! The new process's side: takes what the old one hands over, and goes on hearing from it until it has ended.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinHandle;

use super::line::{Hearing, Line};
use super::message::{Bequest, Ended, FromNew, FromOld, Starts, listener, owner};
use crate::app::{App, Estate, Given, Place, Purpose, StartError};
use crate::error::GatewayError;
use crate::listener::bind::Socket;
use crate::platform::link::Link;
use crate::principal::TenantId;
use crate::proxy::lookup::Asker;
use crate::quota::{OpenSlot, Outcome, Reservation, Start};
use crate::secret::Secret;
use crate::target::SandboxId;
use crate::worker::{Adopted, Stream};

/// What the old process hands over before this one begins.
#[derive(Debug)]
pub(in crate::daemon) struct Heritage {
    line: Line,
    hearing: Hearing<FromOld>,
    /// What came among the bequests: requests go on meanwhile.
    early: VecDeque<FromOld>,
}

impl Heritage {
    /// The old process's, which is at the other end of standard input, and what it listens on.
    ///
    /// # Errors
    /// Nobody is there.
    pub(in crate::daemon) fn receive() -> io::Result<(Self, Given)> {
        let (line, mut hearing) = Line::open(Link::from_stdin()?)?;
        let mut given = Given::default();
        loop {
            match hearing.blocking_recv() {
                Some((FromOld::Socket { purpose, setting, nth }, Some(socket))) => {
                    let purpose = Purpose::of_name(&purpose).ok_or(io::ErrorKind::InvalidData)?;
                    let place = Place { purpose, setting, nth };
                    given.0.push((place, Socket::adopt(socket)?));
                }
                Some((FromOld::Sockets, _)) => {
                    return Ok((Self { line, hearing, early: VecDeque::new() }, given));
                }
                Some(_) | None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
    }

    /// Says that this process is bound to listen, and waits for what the old one leaves behind.
    ///
    /// # Errors
    /// It goes on by itself.
    pub(in crate::daemon) fn take_over(&mut self) -> Result<Estate, StartError> {
        self.line.say(&FromNew::Bound, None);
        let mut estate = Estate::default();
        let mut slots = Vec::new();
        loop {
            let (message, _) = self.hearing.blocking_recv().ok_or(StartError::NothingLeft)?;
            match message {
                FromOld::Bequest(Bequest::Secret(text)) => estate.secret = Some(Secret::new(text)),
                FromOld::Bequest(Bequest::Slot { slot, tenant, under_way, limited }) => {
                    let tenant = TenantId::parse(&tenant);
                    let tenant = tenant.map_err(|_| StartError::NothingLeft)?;
                    let (is_under_way, is_limited) = (under_way, limited);
                    slots.push(OpenSlot { slot, tenant, is_under_way, is_limited });
                }
                FromOld::Bequest(Bequest::Owner { id, tenant, marked }) => {
                    estate.owners.extend(owner(&id, tenant, marked));
                }
                FromOld::Yours => return Ok(Estate { slots: Some(slots), ..estate }),
                early @ (FromOld::Admit { .. } | FromOld::Held { .. } | FromOld::Late(_)) => {
                    self.early.push_back(early);
                }
                FromOld::Socket { .. }
                | FromOld::Sockets
                | FromOld::Go
                | FromOld::Reload
                | FromOld::Connection { .. } => {
                    return Err(StartError::NothingLeft);
                }
            }
        }
    }

    /// The old process from now on. `asker` asks the upstream on its behalf.
    pub(in crate::daemon) fn into_predecessor(self, asker: Asker) -> Predecessor {
        let Self { line, hearing, early } = self;
        let (asker, held) = (Arc::new(asker), Arc::default());
        Predecessor { line, hearing, early, asker, held, connections: 0, is_told: false }
    }
}

/// What is held for requests of the old process, by their numbers.
type HeldFor = Arc<Mutex<HashMap<u64, Reservation>>>;

/// What the old process had to say, as far as it concerns this one as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::daemon) enum News {
    /// Nothing to do.
    Nothing,
    /// It has left.
    Go,
    /// It was told to reload.
    Reload,
    /// It has ended.
    Gone,
}

/// The old process, which has streams to finish.
#[derive(Debug)]
pub(in crate::daemon) struct Predecessor {
    line: Line,
    hearing: Hearing<FromOld>,
    early: VecDeque<FromOld>,
    asker: Arc<Asker>,
    held: HeldFor,
    connections: usize,
    is_told: bool,
}

impl Predecessor {
    /// Tells it, once, that this process can accept connections.
    pub(in crate::daemon) fn ready(&mut self) {
        if !std::mem::replace(&mut self.is_told, true) {
            self.line.say(&FromNew::Ready, None);
        }
    }

    /// Has it reload.
    pub(in crate::daemon) fn reload(&self) {
        self.line.say(&FromNew::Reload, None);
    }

    /// Has it drain, as this process does.
    pub(in crate::daemon) fn drain(&self) {
        self.line.say(&FromNew::Drain, None);
    }

    /// Has it end.
    pub(in crate::daemon) fn end(&self) {
        self.line.say(&FromNew::End, None);
    }

    /// Waits for the next thing it says, and does what concerns only a part of this process.
    pub(in crate::daemon) async fn hear(&mut self, app: &App) -> News {
        let heard = match self.early.pop_front() {
            Some(early) => Some((early, None)),
            None => self.hearing.recv().await,
        };
        let Some((message, descriptor)) = heard else {
            app.hear_no_more();
            // What it did not tell is in doubt.
            self.held.lock().unwrap_or_else(PoisonError::into_inner).clear();
            return News::Gone;
        };
        match message {
            FromOld::Connection { listener: word, is_used } => {
                self.connections += 1;
                let stream = descriptor.and_then(stream);
                if let (Some(stream), Some(listener)) = (stream, listener(&word)) {
                    app.adopt(self.connections, Adopted { listener, is_used, stream });
                }
            }
            FromOld::Admit { number, tenant, limit, start } => {
                self.admit(app, number, &tenant, limit, start);
            }
            FromOld::Held { number, outcome } => self.settle(number, outcome),
            FromOld::Late(word) => {
                if let Some(late) = word.into_late() {
                    app.hear(late);
                }
            }
            FromOld::Go => return News::Go,
            FromOld::Reload => return News::Reload,
            FromOld::Socket { .. } | FromOld::Sockets | FromOld::Bequest(_) | FromOld::Yours => {}
        }
        News::Nothing
    }

    /// Admits a request of the old process as if it were one of this one's.
    fn admit(
        &self,
        app: &App,
        number: u64,
        tenant: &str,
        limit: Option<u32>,
        start: Starts,
    ) -> Option<JoinHandle<()>> {
        let tenant = TenantId::parse(tenant).ok()?;
        let (line, held) = (self.line.clone(), Arc::clone(&self.held));
        let (asker, admissions) = (Arc::clone(&self.asker), app.admissions());
        Some(tokio::spawn(async move {
            let existing;
            let start = match &start {
                Starts::One(key) => Start::One(key.as_deref()),
                Starts::Several(count) => Start::Several(*count),
                Starts::Existing(id) => match SandboxId::parse(id) {
                    Ok(id) => {
                        existing = id;
                        Start::Existing(&existing)
                    }
                    Err(_) => return,
                },
            };
            let admission = admissions.admit(&asker, &tenant, limit, start).await;
            let (admitted, limit) = match admission {
                Ok(reservation) => {
                    let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
                    held.insert(number, reservation);
                    (true, None)
                }
                Err(GatewayError::QuotaExceeded { limit, .. }) => (false, Some(limit)),
                Err(_) => (false, None),
            };
            line.say(&FromNew::Admission { number, admitted, limit }, None);
        }))
    }

    fn settle(&self, number: u64, outcome: Ended) {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
        let Some(reservation) = held else { return };
        tokio::spawn(async move {
            // What could not be noted is in doubt.
            let _ = match outcome.outcome() {
                Outcome::Bound(ids) => reservation.bind(&ids).await,
                Outcome::Released => reservation.release().await,
                Outcome::Doubted => {
                    drop(reservation);
                    Ok(())
                }
            };
        });
    }
}

/// A connection of whichever kind it is.
fn stream(descriptor: OwnedFd) -> Option<Stream> {
    let socket = socket2::Socket::from(descriptor);
    socket.set_nonblocking(true).ok()?;
    Some(match socket.local_addr().ok()?.domain() {
        socket2::Domain::UNIX => Stream::Unix(OwnedFd::from(socket).into()),
        _ => Stream::Tcp(socket.into()),
    })
}
