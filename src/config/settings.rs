//! The settings as the rest of the program sees them: typed and valid.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::audit::{self, AuditSettings};
use super::auth::{AuthSettings, is_open};
use super::listen::{DataListen, Listen};
use super::network::{Origin, Proxy};
use super::reader::Reader;
use super::table::{self, Setting};
use super::tenants::{self, TenantSettings};
use super::tls::{self, TlsFiles};
use super::traces::{self, TraceSettings};
use super::upstream::{self, DataUpstreams, UpstreamTls, UpstreamUrl};
use super::value::{Raw, count, duration, number, switch};
use crate::route::Domain;
use crate::secret::Secret;
use crate::tls::Offer;

const MILLISECOND: Duration = Duration::from_millis(1);
const DAY: Duration = Duration::from_secs(86_400);
/// A create may hold its answer back until its sandbox is ready; cut off earlier, its outcome is unknown.
const MIN_CREATE_TIMEOUT: Duration = Duration::from_secs(80);

/// Everything that can be set.
#[derive(Debug)]
pub struct Settings {
    /// Listeners and their connections.
    pub server: ServerSettings,
    /// Where requests go.
    pub upstream: UpstreamSettings,
    /// Who may come in.
    pub auth: AuthSettings,
    /// What keeps tenants apart.
    pub tenants: TenantSettings,
    /// How the audit log is kept.
    pub audit: AuditSettings,
    /// A directory for what must outlive a restart.
    pub state_dir: Option<PathBuf>,
    /// What is logged, and how.
    pub log: LogSettings,
    /// Where traces go; none: they are not made.
    pub traces: Option<TraceSettings>,
}

/// Listeners and their connections.
#[derive(Debug)]
pub struct ServerSettings {
    /// Control-plane listeners, at least one.
    pub listen: Vec<Listen>,
    /// Data-plane listeners.
    pub envd_listen: Vec<DataListen>,
    /// Listeners for metrics and health.
    pub ops_listen: Vec<Listen>,
    /// The domain of sandbox hosts.
    pub domain: Option<Domain>,
    /// Whether control-plane listeners recognise data-plane requests by their headers.
    pub one_port: bool,
    /// Whether an open gateway may listen beyond loopback.
    pub allow_open: bool,
    /// What TLS offers on TCP; none: clients are spoken to in clear text.
    pub tls: Option<Arc<Offer>>,
    /// What that was read from.
    pub tls_files: Option<TlsFiles>,
    /// Whose forwarded headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Web origins that preflights are answered for.
    pub cors_origins: Vec<Origin>,
    /// Serving threads; none: one a core.
    pub workers: Option<NonZeroUsize>,
    /// Connections open at once.
    pub max_connections: NonZeroUsize,
    /// HTTP/2 streams of one connection.
    pub max_streams: u32,
    /// From a connection's first byte to its complete head.
    pub head_timeout: Duration,
    /// Silence after which a connection or stream is closed.
    pub idle_timeout: Duration,
    /// From SIGTERM to the end of the last stream.
    pub drain_timeout: Duration,
    /// From SIGTERM to the first refused connection.
    pub drain_delay: Duration,
    /// From an upgrade to the end of the last stream in the process that was replaced.
    pub upgrade_timeout: Duration,
}

/// Where requests go.
#[derive(Debug)]
pub struct UpstreamSettings {
    /// The sandbox API.
    pub url: UpstreamUrl,
    /// The data plane.
    pub envd: DataUpstreams,
    /// Sent to the sandbox API in place of the client's credential.
    pub api_key: Option<Secret>,
    /// Whether upstreams are spoken to in HTTP/2, where they agree to it.
    pub http2: bool,
    /// What proves who they are, and who the gateway is.
    pub tls: UpstreamTls,
    /// To connect.
    pub connect_timeout: Duration,
    /// Until an unused connection is closed.
    pub idle_timeout: Duration,
    /// To the head of a create's answer.
    pub create_timeout: Duration,
    /// To the head of any other answer of the control plane.
    pub response_timeout: Duration,
    /// To the end of an answer to the gateway's own question.
    pub lookup_timeout: Duration,
}

/// What is logged, and how.
#[derive(Debug)]
pub struct LogSettings {
    /// A filter that `tracing-subscriber` accepts.
    pub filter: LogFilter,
    /// The form of a line.
    pub format: LogFormat,
}

/// A sound log filter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogFilter(Box<str>);

impl LogFilter {
    /// The filter as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The form of a log line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
    /// Text on a terminal, else JSON.
    Auto,
}

/// Reads everything else. None when a required setting is missing.
pub(super) fn read(
    reader: &mut Reader<'_>,
    auth: AuthSettings,
    state_dir: Option<PathBuf>,
) -> Option<Settings> {
    let server = read_server(reader);
    check_listeners(reader, &server);
    let upstream = read_upstream(reader);
    let tenants = tenants::read(reader);
    let audit = audit::read(reader);
    let log = LogSettings {
        filter: reader.value(table::LOG_FILTER, log_filter),
        format: reader.value(table::LOG_FORMAT, log_format),
    };
    let traces = traces::read(reader);
    Some(Settings { server, upstream: upstream?, auth, tenants, audit, state_dir, log, traces })
}

fn time(reader: &mut Reader<'_>, setting: &'static Setting) -> Duration {
    reader.value(setting, |raw| duration(raw, MILLISECOND..=DAY))
}

fn read_server(reader: &mut Reader<'_>) -> ServerSettings {
    let proxies = reader.list(table::TRUSTED_PROXIES, Proxy::parse);
    let (tls_files, tls) = tls::read(reader, &proxies).unzip();
    ServerSettings {
        listen: reader.value(table::LISTEN, |raw| raw.list(Listen::parse)),
        envd_listen: reader.list(table::ENVD_LISTEN, DataListen::parse),
        ops_listen: reader.list(table::OPS_LISTEN, Listen::parse),
        domain: reader.optional(table::DOMAIN, domain),
        one_port: reader.value(table::ONE_PORT, switch),
        allow_open: reader.value(table::ALLOW_OPEN, switch),
        tls,
        tls_files,
        trusted_proxies: proxies.iter().filter_map(Proxy::network).collect(),
        cors_origins: reader.list(table::CORS_ORIGINS, Origin::parse),
        workers: reader.optional(table::WORKERS, |raw| count(raw, 1024)),
        max_connections: reader.value(table::MAX_CONNECTIONS, |raw| count(raw, 10_000_000)),
        max_streams: reader.value(table::MAX_STREAMS, |raw| number(raw, 1..=100_000)),
        head_timeout: time(reader, table::HEAD_TIMEOUT),
        idle_timeout: time(reader, table::IDLE_TIMEOUT),
        drain_timeout: reader
            .value(table::DRAIN_TIMEOUT, |raw| duration(raw, Duration::ZERO..=DAY)),
        drain_delay: reader.value(table::DRAIN_DELAY, |raw| duration(raw, Duration::ZERO..=DAY)),
        upgrade_timeout: reader
            .value(table::UPGRADE_TIMEOUT, |raw| duration(raw, Duration::ZERO..=7 * DAY)),
    }
}

fn read_upstream(reader: &mut Reader<'_>) -> Option<UpstreamSettings> {
    let url = reader.required(table::UPSTREAM, |raw| UpstreamUrl::parse(raw.text()?));
    let envd = reader
        .optional(table::ENVD_UPSTREAM, |raw| DataUpstreams::parse(&raw.items()?))
        .unwrap_or_default();
    // One that could not be read may have been meant to be.
    let is_any_tls =
        url.as_ref().is_none_or(UpstreamUrl::is_tls) || envd.iter().any(UpstreamUrl::is_tls);
    let settings = UpstreamSettings {
        envd,
        tls: upstream::read_tls(reader, is_any_tls),
        api_key: reader.optional(table::UPSTREAM_API_KEY, header_value),
        http2: reader.value(table::UPSTREAM_HTTP2, switch),
        connect_timeout: time(reader, table::CONNECT_TIMEOUT),
        idle_timeout: time(reader, table::POOL_IDLE_TIMEOUT),
        create_timeout: reader
            .value(table::CREATE_TIMEOUT, |raw| duration(raw, MIN_CREATE_TIMEOUT..=DAY)),
        response_timeout: time(reader, table::RESPONSE_TIMEOUT),
        lookup_timeout: time(reader, table::LOOKUP_TIMEOUT),
        url: url?,
    };
    Some(settings)
}

/// Refuses listeners that exclude each other, and open ones that strangers can reach.
fn check_listeners(reader: &mut Reader<'_>, server: &ServerSettings) {
    let must_be_local = is_open(reader) && !server.allow_open;
    let control = server.listen.iter().map(|at| (table::LISTEN, at));
    let data = server.envd_listen.iter().map(|listen| (table::ENVD_LISTEN, &listen.at));
    let ops = server.ops_listen.iter().map(|at| (table::OPS_LISTEN, at));
    let all: Vec<_> = control.chain(data).chain(ops).collect();
    for (index, (setting, at)) in all.iter().enumerate() {
        if all.iter().take(index).any(|(_, earlier)| at.collides(earlier)) {
            reader.problem(reader.origin(setting), format!("{at} is listened on twice"));
        }
        if setting.key == table::OPS_LISTEN.key {
            if !at.is_local() {
                let message = format!(
                    "{}: {at} is reachable from elsewhere, and metrics and health are shown to everybody",
                    reader.origin(setting)
                );
                reader.warn(message);
            }
        } else if must_be_local && !at.is_local() {
            let message = format!(
                "{at} is reachable from elsewhere and no keys are set, so that everybody could do everything; \
                 set COPPICE_API_KEYS, --api-keys-file or --auth-callback-url, or say --allow-open"
            );
            reader.problem(reader.origin(setting), message);
        }
    }
}

pub(super) fn domain(raw: &Raw) -> Result<Domain, String> {
    let text = raw.text()?;
    Domain::parse(text).map_err(|why| format!("'{text}' is {why}"))
}

fn header_value(raw: &Raw) -> Result<Secret, String> {
    let text = raw.text()?;
    if text.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(Secret::new(text.to_owned()))
    } else {
        Err("holds something other than visible ASCII characters".to_owned())
    }
}

fn log_filter(raw: &Raw) -> Result<LogFilter, String> {
    let text = raw.text()?;
    let parsed = tracing_subscriber::EnvFilter::builder().parse(text);
    parsed.map(|_| LogFilter(text.into())).map_err(|why| format!("'{text}' is no filter: {why}"))
}

fn log_format(raw: &Raw) -> Result<LogFormat, String> {
    match raw.text()? {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        "auto" => Ok(LogFormat::Auto),
        other => Err(format!("'{other}' is none of text, json and auto")),
    }
}
