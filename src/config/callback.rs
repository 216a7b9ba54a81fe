//! Reads what can be set of the auth callback.
//!
//! The address is what turns it on: any other setting of it without one is a problem, so that a slip never leaves a
//! gateway open. The address is never quoted, since its query may hold a secret.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use smol_str::SmolStr;

use super::reader::Reader;
use super::table::{self, SETTINGS, Setting};
use super::trust::Files;
use super::value::{Raw, count, duration, either, number};
use crate::callback::{CacheBy, CallbackUrl, DefaultIdentity, Passed, Settings, WhenUnavailable};
use crate::http1::{Authorities, Tls};
use crate::principal::{Scope, Scopes, TenantId};

const MILLISECOND: Duration = Duration::from_millis(1);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);
/// Longest name, in bytes: sandbox tokens hold it behind one byte with its length.
const MAX_NAME: usize = 128;
const MAX_CALLS: usize = 100_000;

/// Reads all of it. None without an address, or with one that is a problem.
pub(super) fn read(reader: &mut Reader<'_>, state_dir: Option<PathBuf>) -> Option<Settings> {
    let url = read_url(reader);
    let any = NonZeroU32::MIN..=NonZeroU32::MAX;
    let settings = Settings {
        timeout: time(reader, table::CALLBACK_TIMEOUT),
        connect_timeout: time(reader, table::CALLBACK_CONNECT_TIMEOUT),
        pass: reader.optional(table::CALLBACK_PASS_STATUS, passed).unwrap_or_default(),
        when_unavailable: reader.value(table::CALLBACK_UNAVAILABLE_STATUS, unavailable),
        cache_ttl: reader
            .value(table::CALLBACK_CACHE_TTL, |raw| duration(raw, Duration::ZERO..=MINUTE)),
        cache_by: reader.value(table::CALLBACK_CACHE_BY, cache_by),
        stale_if_error: reader
            .value(table::CALLBACK_STALE_IF_ERROR, |raw| duration(raw, Duration::ZERO..=DAY)),
        max_calls: reader.value(table::CALLBACK_MAX_CALLS, |raw| count(raw, MAX_CALLS)),
        client_budget: reader.value(table::CALLBACK_CLIENT_BUDGET, |raw| number(raw, any.clone())),
        breaker_failures: reader
            .value(table::CALLBACK_BREAKER_FAILURES, |raw| number(raw, any.clone())),
        breaker_pause: time(reader, table::CALLBACK_BREAKER_PAUSE),
        default: DefaultIdentity {
            tenant: reader.value(table::CALLBACK_DEFAULT_TENANT, tenant),
            name: reader.value(table::CALLBACK_DEFAULT_NAME, name),
            scopes: reader.value(table::CALLBACK_DEFAULT_SCOPES, scopes),
        },
        tls: read_tls(reader, url.as_ref()),
        state_dir,
        url: url?,
    };
    Some(settings)
}

fn read_url(reader: &mut Reader<'_>) -> Option<CallbackUrl> {
    if reader.given(table::CALLBACK_URL).is_none() {
        for setting in SETTINGS.iter().filter(|setting| setting.key.starts_with("auth.callback.")) {
            if let Some(spelling) = reader.given(setting) {
                let message = "needs --auth-callback-url or AUTH_CALLBACK_URL beside it";
                reader.problem(spelling, message.to_owned());
            }
        }
        return None;
    }
    let url = reader.optional(table::CALLBACK_URL, |raw| {
        CallbackUrl::parse(raw.text()?).map_err(|why| why.to_string())
    })?;
    let spelling = reader.origin(table::CALLBACK_URL);
    if url.had_user() {
        reader.warn(format!(
            "{spelling}: its user name and password are not sent: Authorization carries the client's credential"
        ));
    }
    if url.is_in_clear() {
        reader.warn(format!(
            "{spelling}: is http:// beyond loopback: credentials cross the network in clear text"
        ));
    }
    Some(url)
}

const FILES: Files = Files {
    authorities: table::CALLBACK_CA,
    certificate: table::CALLBACK_CLIENT_CERT,
    key: table::CALLBACK_CLIENT_KEY,
};

fn read_tls(reader: &mut Reader<'_>, url: Option<&CallbackUrl>) -> Tls {
    let authorities = FILES.authorities(reader, Authorities::of_system);
    let identity = FILES.identity(reader);
    if url.is_some_and(CallbackUrl::is_tls) {
        Tls::new(authorities.unwrap_or_else(Authorities::of_system), identity)
    } else {
        Tls::default()
    }
}

fn time(reader: &mut Reader<'_>, setting: &'static Setting) -> Duration {
    reader.value(setting, |raw| duration(raw, MILLISECOND..=MINUTE))
}

fn passed(raw: &Raw) -> Result<Passed, String> {
    raw.items()?.into_iter().try_fold(Passed::default(), |passed, status| match status {
        "403" => Ok(Passed { forbidden: true, ..passed }),
        "429" => Ok(Passed { rate_limited: true, ..passed }),
        other => Err(format!("'{other}' is neither 403 nor 429")),
    })
}

fn unavailable(raw: &Raw) -> Result<WhenUnavailable, String> {
    let (error, unavailable) =
        (WhenUnavailable::InternalError, WhenUnavailable::ServiceUnavailable);
    either(raw, [("500", error), ("503", unavailable)])
}

fn cache_by(raw: &Raw) -> Result<CacheBy, String> {
    either(raw, [("request", CacheBy::Request), ("credential", CacheBy::Credential)])
}

fn tenant(raw: &Raw) -> Result<TenantId, String> {
    TenantId::parse(raw.text()?).map_err(|why| why.to_string())
}

fn name(raw: &Raw) -> Result<SmolStr, String> {
    let text = raw.text()?;
    if text.len() > MAX_NAME || text.chars().any(char::is_control) {
        return Err(format!("is longer than {MAX_NAME} bytes or holds a control character"));
    }
    Ok(text.into())
}

fn scopes(raw: &Raw) -> Result<Scopes, String> {
    let items = raw.items()?;
    let names = items.iter().flat_map(|item| item.split('|')).map(str::trim);
    names.map(str::parse::<Scope>).collect::<Result<_, _>>().map_err(|why| why.to_string())
}
