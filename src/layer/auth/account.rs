//! What the auth layer found out about a request, as it is noted in the request's account.
//!
//! Nothing is decided here.

use crate::caller::Caller;
use crate::error::GatewayError;
use crate::permit::Permit;
use crate::record::Record;
use crate::route::{Class, Surface};
use crate::target::SandboxId;

/// A refusal, and who was refused as far as that is known.
#[derive(Debug)]
pub(super) struct Refused {
    /// Why.
    pub error: GatewayError,
    /// Who, once authenticated.
    pub caller: Option<Caller>,
    /// The surface, once the request was read.
    pub surface: Option<Surface>,
    /// The class of its route.
    pub class: Option<Class>,
    /// The pattern of its route, where a row lists one.
    pub route: Option<&'static str>,
    /// The sandbox that it names.
    pub sandbox: Option<SandboxId>,
}

impl Refused {
    /// Notes all but the reason in the account of the request, and gives that.
    pub(super) fn note(self, record: &mut Record) -> GatewayError {
        let Self { error, caller, surface, class, route, sandbox } = self;
        if let Some(caller) = &caller {
            note_caller(record, caller);
        }
        (record.surface, record.class, record.route) = (surface, class, route);
        record.sandbox = sandbox;
        record.mark_decided();
        error
    }
}

impl From<GatewayError> for Refused {
    fn from(error: GatewayError) -> Self {
        Self { error, caller: None, surface: None, class: None, route: None, sandbox: None }
    }
}

/// Notes in the account of a request what its permit says.
pub(super) fn note_permit(record: &mut Record, permit: &Permit) {
    note_caller(record, permit.caller());
    record.surface = Some(permit.surface());
    record.class = Some(permit.class());
    record.route = permit.route().map(|route| route.pattern);
    record.sandbox = permit.sandbox().cloned();
    record.mark_decided();
}

fn note_caller(record: &mut Record, caller: &Caller) {
    record.scopes = caller.scopes();
    record.principal = caller.principal().cloned();
}
