//! Settings: read once from flags, environment and a TOML file into typed values, or refused with every problem at
//! once.
//!
//! A setting that is present but empty or malformed is a problem, never "off". Nothing below this module knows where a
//! value came from. Only `sources` reads the environment, and it and `pem` the files.

mod audit;
mod auth;
mod callback;
mod document;
mod given;
mod listen;
mod nearest;
mod network;
mod problem;
mod reader;
mod settings;
mod sources;
mod table;
mod tenants;
mod tls;
mod traces;
mod trust;
mod upstream;
mod value;

pub use audit::{AuditPolicy, AuditSettings, AuditSync};
pub use auth::AuthSettings;
pub use given::Given;
pub use listen::{DataListen, Listen};
pub use network::Origin;
pub use problem::{Problem, Problems, Spelling};
pub use settings::{LogFilter, LogFormat, LogSettings, ServerSettings, Settings, UpstreamSettings};
pub use sources::Sources;
pub use table::{FileForm, PAIRS, Pairs, SETTINGS, Setting, Shape, is_unsupported_flag};
pub use tenants::{LimitOrigins, QuotaStatus, ReservedName, TenantSettings};
pub use tls::TlsFiles;
pub use traces::TraceSettings;
pub use upstream::{DataUpstreams, UpstreamTls, UpstreamUrl};

use crate::keys::KeySet;
use crate::pem::Source;
use crate::route::Domain;
use reader::Reader;

/// What a successful load gives.
#[derive(Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// The static keys; there may be none.
    pub keys: KeySet,
    /// What is not wrong, but should be looked at; a line each.
    pub warnings: Vec<String>,
    /// Which settings were given which values.
    pub given: Given,
}

impl Settings {
    /// Reads everything: at the start, for `check`, and again on SIGHUP.
    ///
    /// `previous` is the key set in force at a reload; the new one keeps what did not change, and may not be absent.
    ///
    /// # Errors
    /// Every problem found.
    pub fn load(sources: &Sources, previous: Option<&KeySet>) -> Result<Loaded, Problems> {
        let mut reader = Reader::new(sources);
        reader.check_variables();
        let state_dir = reader.optional(table::STATE_DIR, value::path);
        let (auth, keys) = auth::read(&mut reader, previous, state_dir.clone());
        let settings = settings::read(&mut reader, auth, state_dir);
        if let Some(settings) = &settings {
            remarks(&mut reader, settings);
        }
        let given = reader.given_values();
        let (settings, warnings) = reader.finish(settings)?;
        Ok(Loaded { settings, keys, warnings, given })
    }
}

/// Reads the keys alone, after their file changed, and says which file that is now. A process that was `replaced` passes over settings that it does not
/// know: its successor may.
///
/// # Errors
/// Every problem with them, and with the syntax of the settings file.
pub fn load_keys(
    sources: &Sources,
    previous: &KeySet,
    replaced: bool,
) -> Result<(KeySet, Option<Source>), Problems> {
    let mut reader = if replaced { Reader::forgiving(sources) } else { Reader::new(sources) };
    let (file, keys) = auth::read_keys(&mut reader, Some(previous));
    reader.finish(Some((keys, file))).map(|(loaded, _)| loaded)
}

/// The settings that decide about requests. Nothing has to be set.
#[derive(Debug)]
pub struct Decisive {
    /// The domain of sandbox hosts.
    pub domain: Option<Domain>,
    /// Whether control-plane listeners recognise data-plane requests by their headers.
    pub one_port: bool,
    /// Whether there is a gateway, as an upstream says, and it asks nobody for a credential.
    pub is_open: bool,
    /// The static keys; there may be none.
    pub keys: KeySet,
    /// The service that is asked about credentials that no key knows.
    pub callback: Option<crate::callback::Settings>,
    /// What keeps tenants apart, and how much each may use.
    pub tenants: TenantSettings,
    /// Where that was limited.
    pub limit_origins: LimitOrigins,
}

impl Decisive {
    /// Reads them, and nothing else, with the warnings that come up.
    ///
    /// # Errors
    /// Every problem with them, and with the syntax of the settings file.
    pub fn load(sources: &Sources) -> Result<(Self, Vec<String>), Problems> {
        let mut reader = Reader::new(sources);
        reader.check_variables();
        let (_, keys) = auth::read_keys(&mut reader, None);
        let state_dir = reader.optional(table::STATE_DIR, value::path);
        let callback = callback::read(&mut reader, state_dir);
        let upstream = reader.optional(table::UPSTREAM, |raw| UpstreamUrl::parse(raw.text()?));
        let decisive = Self {
            domain: reader.optional(table::DOMAIN, settings::domain),
            one_port: reader.value(table::ONE_PORT, value::switch),
            is_open: upstream.is_some() && auth::is_open(&reader),
            keys,
            callback,
            tenants: tenants::read(&mut reader),
            limit_origins: LimitOrigins::read(&reader),
        };
        reader.finish(Some(decisive))
    }
}

/// Warns of combinations that work, but hardly as meant.
fn remarks(reader: &mut Reader<'_>, settings: &Settings) {
    if settings.auth.is_open() {
        reader.warn(
            "no keys are set: the gateway is open, and every request passes unchecked".to_owned(),
        );
        if !settings.tenants.limits.is_empty() {
            let origin = LimitOrigins::read(reader).any();
            reader.warn(format!("{origin}: limits nobody, since the gateway is open"));
        }
    } else if !settings.tenants.isolation {
        let origin = reader.origin(table::ISOLATION);
        reader.warn(format!(
            "{origin}: tenants are only labelled: every key reaches the sandboxes of all of them"
        ));
    }
    if settings.auth.secrets.is_empty() && settings.state_dir.is_none() {
        reader.warn(
            "neither COPPICE_SECRET nor --state-dir is set: sandbox tokens die with the process"
                .to_owned(),
        );
    }
    tls::remarks(reader, &settings.server);
    if !settings.server.envd_listen.is_empty() && settings.upstream.envd.is_empty() {
        reader.warn("--envd-listen without --envd-upstream: the data plane answers 404".to_owned());
    }
}

#[cfg(test)]
mod tests;
