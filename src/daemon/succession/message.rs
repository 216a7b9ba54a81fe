//! What two processes of the gateway say to each other, as JSON: they may be of different versions.
//!
//! A message that one of them does not know is passed over, and the log says so.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::app::{Late, Owner};
use crate::principal::TenantId;
use crate::quota::{OpenSlot, Outcome, Start, Told};
use crate::route::{Listener, PortLabel};
use crate::target::SandboxId;

/// What the old process says.
#[derive(Serialize, Deserialize)]
pub(super) enum FromOld {
    /// A listening socket, in the stead of what.
    Socket { purpose: String, setting: Option<String>, nth: usize },
    /// These were all.
    Sockets,
    /// Something that is in its memory alone.
    Bequest(Bequest),
    /// That was all.
    Yours,
    /// It has left: accept connections.
    Go,
    /// It was told to reload, perhaps when the new process had read everything already.
    Reload,
    /// A connection that nobody talks on.
    Connection { listener: String, is_used: bool },
    /// May this request start sandboxes?
    Admit { number: u64, tenant: String, limit: Option<u32>, start: Starts },
    /// How the admitted request of this number ended.
    Held { number: u64, outcome: Ended },
    /// Something that it found out when it was replaced already.
    Late(LateWord),
}

impl fmt::Debug for FromOld {
    /// Nothing of what it says, which may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FromOld")
    }
}

/// What the new process says.
#[derive(Serialize, Deserialize)]
pub(super) enum FromNew {
    /// It is bound to listen.
    Bound,
    /// It can accept connections.
    Ready,
    /// It was told to reload.
    Reload,
    /// It was told to drain.
    Drain,
    /// It was told to end.
    End,
    /// The request of this number is admitted, or how many its tenant may have; neither: nobody knows.
    Admission { number: u64, admitted: bool, limit: Option<u32> },
}

/// What is handed over before the new process begins.
#[derive(Serialize, Deserialize)]
pub(super) enum Bequest {
    /// What seals sandbox tokens.
    Secret(String),
    /// An open slot.
    Slot { slot: u64, tenant: String, under_way: bool, limited: bool },
    /// A sandbox on record.
    Owner { id: String, tenant: Option<String>, marked: bool },
}

/// See [`Late`].
#[derive(Serialize, Deserialize)]
pub(super) enum LateWord {
    /// A sandbox on record, or off it.
    Owner { id: String, tenant: Option<String>, marked: bool },
    /// An audit event.
    Event(Box<RawValue>),
    /// How a request ended that was under way before.
    Settled { slots: Vec<u64>, outcome: Ended },
    /// A sandbox runs.
    Runs { tenant: String, id: String },
    /// A sandbox does not run any more.
    Gone { tenant: String, id: String },
}

/// What a request may start.
#[derive(Serialize, Deserialize)]
pub(super) enum Starts {
    One(Option<String>),
    Several(u32),
    Existing(String),
}

impl From<Start<'_>> for Starts {
    fn from(start: Start<'_>) -> Self {
        match start {
            Start::One(key) => Self::One(key.map(str::to_owned)),
            Start::Several(count) => Self::Several(count),
            Start::Existing(id) => Self::Existing(id.to_string()),
        }
    }
}

/// How a request ended.
#[derive(Serialize, Deserialize)]
pub(super) enum Ended {
    Bound(Vec<String>),
    Released,
    Doubted,
}

impl From<&Outcome> for Ended {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Bound(ids) => Self::Bound(ids.iter().map(ToString::to_string).collect()),
            Outcome::Released => Self::Released,
            Outcome::Doubted => Self::Doubted,
        }
    }
}

impl Ended {
    /// What it says; in doubt, where that cannot be.
    pub(super) fn outcome(self) -> Outcome {
        match self {
            Self::Bound(ids) => {
                let ids: Option<Vec<_>> = ids.iter().map(|id| SandboxId::parse(id).ok()).collect();
                ids.map_or(Outcome::Doubted, Outcome::Bound)
            }
            Self::Released => Outcome::Released,
            Self::Doubted => Outcome::Doubted,
        }
    }
}

impl From<OpenSlot> for Bequest {
    fn from(open: OpenSlot) -> Self {
        let OpenSlot { slot, tenant, is_under_way: under_way, is_limited: limited } = open;
        Self::Slot { slot, tenant: tenant.to_string(), under_way, limited }
    }
}

impl From<Owner> for Bequest {
    fn from((id, tenant, marked): Owner) -> Self {
        let tenant = tenant.map(|tenant| tenant.to_string());
        Self::Owner { id: id.to_string(), tenant, marked }
    }
}

impl LateWord {
    /// The words for it; `None`, where there are none.
    pub(super) fn of(late: Late) -> Option<Self> {
        Some(match late {
            Late::Count(Told::Settled { slots, outcome }) => {
                Self::Settled { slots, outcome: (&outcome).into() }
            }
            Late::Count(Told::Runs { tenant, id }) => {
                Self::Runs { tenant: tenant.to_string(), id: id.to_string() }
            }
            Late::Count(Told::Ended { tenant, id }) => {
                Self::Gone { tenant: tenant.to_string(), id: id.to_string() }
            }
            Late::Owner((id, tenant, marked)) => {
                let tenant = tenant.map(|tenant| tenant.to_string());
                Self::Owner { id: id.to_string(), tenant, marked }
            }
            Late::Event(object) => {
                let text = String::from_utf8(object).ok()?;
                Self::Event(RawValue::from_string(text).ok()?)
            }
        })
    }

    /// The same, the other way round.
    pub(super) fn into_late(self) -> Option<Late> {
        let both = |tenant: String, id: String| {
            Some((TenantId::parse(&tenant).ok()?, SandboxId::parse(&id).ok()?))
        };
        Some(match self {
            Self::Settled { slots, outcome } => {
                Late::Count(Told::Settled { slots, outcome: outcome.outcome() })
            }
            Self::Runs { tenant, id } => {
                let (tenant, id) = both(tenant, id)?;
                Late::Count(Told::Runs { tenant, id })
            }
            Self::Gone { tenant, id } => {
                let (tenant, id) = both(tenant, id)?;
                Late::Count(Told::Ended { tenant, id })
            }
            Self::Owner { id, tenant, marked } => Late::Owner(owner(&id, tenant, marked)?),
            Self::Event(object) => Late::Event(object.get().as_bytes().to_vec()),
        })
    }
}

/// A sandbox on record.
pub(super) fn owner(id: &str, tenant: Option<String>, marked: bool) -> Option<Owner> {
    let tenant = tenant.map(|tenant| TenantId::parse(&tenant)).transpose().ok()?;
    Some((SandboxId::parse(id).ok()?, tenant, marked))
}

/// What a listener stands for, in a word.
pub(super) fn word(listener: Listener) -> String {
    match listener {
        Listener::Control { one_port: true } => "api+envd".to_owned(),
        Listener::Control { one_port: false } => "api".to_owned(),
        Listener::Data(PortLabel::Every) => "*".to_owned(),
        Listener::Data(PortLabel::Port(port)) => port.to_string(),
    }
}

/// The listener that this word stands for.
pub(super) fn listener(word: &str) -> Option<Listener> {
    match word {
        "api+envd" => Some(Listener::Control { one_port: true }),
        "api" => Some(Listener::Control { one_port: false }),
        "*" => Some(Listener::Data(PortLabel::Every)),
        port => Some(Listener::Data(PortLabel::Port(port.parse().ok()?))),
    }
}
