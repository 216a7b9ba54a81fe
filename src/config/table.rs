//! The settings: each is declared here once, with all its names.
//!
//! Command-line flags, environment variables, keys of the TOML file, the help, the man page and
//! `config/gateway.example.toml` all come from this table.

/// How a setting is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// One value.
    Text,
    /// `on` or `off`.
    Switch,
    /// Values separated by commas, or a TOML array.
    List,
    /// A secret text, with a second form that names a file.
    Secret,
    /// A secret list whose file is a setting of its own.
    SecretList,
}

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// The dotted key of the TOML file.
    pub key: &'static str,
    /// The flag without its dashes; secrets that must not show in a process list have none.
    pub flag: Option<&'static str>,
    /// The environment variable.
    pub env: &'static str,
    /// What stands for the value in the help.
    pub value: &'static str,
    /// The value when the setting is absent, as it would be written.
    pub default: Option<&'static str>,
    /// What it does, as one or two sentences.
    pub help: &'static str,
    /// How it is written.
    pub shape: Shape,
    /// Whether a reload brings a change into force.
    pub reload: bool,
    file: Option<FileForm>,
}

impl Setting {
    /// Whether its value must not be shown.
    #[must_use]
    pub const fn is_secret(&self) -> bool {
        matches!(self.shape, Shape::Secret | Shape::SecretList)
    }

    /// The names under which a file with the value is given, where there is such a form.
    #[must_use]
    pub const fn file_form(&self) -> Option<&FileForm> {
        self.file.as_ref()
    }
}

/// The second form of a value that may be secret: the path of a file that holds it.
#[derive(Debug)]
pub struct FileForm {
    /// The dotted key of the TOML file.
    pub key: &'static str,
    /// The flag without its dashes.
    pub flag: &'static str,
    /// The environment variable.
    pub env: &'static str,
}

/// Declares the constants and [`SETTINGS`], the list of them all in the order of the example file.
macro_rules! settings {
    ($($name:ident: $shape:ident $key:literal, $flag:expr, $env:literal, $value:literal = $default:expr;
       $help:literal $(@ $file:literal)? $(, $reload:ident)?;)*) => {
        $(
            #[doc = concat!("`", $key, "`")]
            pub(super) const $name: &Setting = &Setting {
                key: $key,
                flag: $flag,
                env: $env,
                value: $value,
                default: $default,
                help: $help,
                shape: Shape::$shape,
                reload: settings!(@reload $($reload)?),
                file: settings!(@file $key, $env $(, $file)?),
            };
        )*
        /// Every setting.
        pub const SETTINGS: &[&Setting] = &[$($name),*];
    };
    (@reload reload) => { true };
    (@reload) => { false };
    (@file $key:literal, $env:literal, $flag:literal) => {
        Some(FileForm { key: concat!($key, "_file"), flag: $flag, env: concat!($env, "_FILE") })
    };
    (@file $key:literal, $env:literal) => { None };
}

settings! {
    LISTEN: List "server.listen", Some("listen"), "COPPICE_LISTEN", "ADDR,…" = Some("127.0.0.1:3000");
        "Where the control plane listens: addresses, or unix:/path. Port 0 takes any free port.";
    ENVD_LISTEN: List "server.envd_listen", Some("envd-listen"), "COPPICE_ENVD_LISTEN", "ADDR[=LABEL],…" = None;
        "Where the data plane listens. LABEL is the sandbox port that the listener stands for, or * for every port; without one it is ADDR's own port.";
    OPS_LISTEN: List "server.ops_listen", Some("ops-listen"), "COPPICE_OPS_LISTEN", "ADDR,…" = None;
        "Where /metrics, /healthz and /readyz are answered, and nothing else: addresses, or unix:/path. Nobody is asked for a credential there.";
    DOMAIN: Text "server.domain", Some("domain"), "COPPICE_DOMAIN", "NAME" = None;
        "Requests for <port>-<id>.NAME and sandbox.NAME are data plane; every other host is control plane.";
    ONE_PORT: Switch "server.one_port", Some("one-port"), "COPPICE_ONE_PORT", "on|off" = Some("on");
        "Whether data-plane requests are recognised on the control-plane listeners too when Host is an IP address or localhost.";
    ALLOW_OPEN: Switch "server.allow_open", Some("allow-open"), "COPPICE_ALLOW_OPEN", "on|off" = Some("off");
        "Lets a gateway with neither keys nor an auth callback listen beyond loopback.";
    TRUSTED_PROXIES: List "server.trusted_proxies", Some("trusted-proxies"), "COPPICE_TRUSTED_PROXIES", "CIDR|cert:NAME,…" = None;
        "Proxies in front of the gateway whose forwarded headers are believed: networks, or cert:NAME for those whose client certificate has that DNS name.", reload;
    TLS_CERT: Text "server.tls_cert", Some("tls-cert"), "COPPICE_TLS_CERT", "PATH" = None;
        "A PEM file with the certificate that TLS clients are shown, then those that lead to its authority. With it, listen and envd_listen speak TLS on TCP.", reload;
    TLS_KEY: Text "server.tls_key", Some("tls-key"), "COPPICE_TLS_KEY", "PATH" = None;
        "A PEM file with the key of that certificate.", reload;
    TLS_CLIENT_CA: Text "server.tls_client_ca", Some("tls-client-ca"), "COPPICE_TLS_CLIENT_CA", "PATH" = None;
        "A PEM file with the authorities that vouch for clients, who are then asked for a certificate.", reload;
    TLS_CLIENT_AUTH: Text "server.tls_client_auth", Some("tls-client-auth"), "COPPICE_TLS_CLIENT_AUTH", "required|optional" = Some("required");
        "Whether a client without a certificate is turned away. Who shows one that nobody vouches for always is.", reload;
    CORS_ORIGINS: List "server.cors_origins", Some("cors-origins"), "COPPICE_CORS_ORIGINS", "ORIGIN,…" = None;
        "Web origins whose pages may call the gateway, written exactly as browsers send them.", reload;
    WORKERS: Text "server.workers", Some("workers"), "COPPICE_WORKERS", "N" = None;
        "Threads that serve requests. Without it there is one for each core.";
    MAX_CONNECTIONS: Text "server.max_connections", Some("max-connections"), "COPPICE_MAX_CONNECTIONS", "N" = Some("10000");
        "Connections open at once over all listeners; more wait to be accepted.";
    MAX_STREAMS: Text "server.max_streams", Some("max-streams"), "COPPICE_MAX_STREAMS", "N" = Some("200");
        "Concurrent HTTP/2 streams of one connection.";
    HEAD_TIMEOUT: Text "server.head_timeout", Some("head-timeout"), "COPPICE_HEAD_TIMEOUT", "TIME" = Some("10s");
        "How long a client may take to send a complete request head.", reload;
    IDLE_TIMEOUT: Text "server.idle_timeout", Some("idle-timeout"), "COPPICE_IDLE_TIMEOUT", "TIME" = Some("650s");
        "How long a connection may stay quiet between requests. A stream may be silent for as long as it likes.", reload;
    DRAIN_TIMEOUT: Text "server.drain_timeout", Some("drain-timeout"), "COPPICE_DRAIN_TIMEOUT", "TIME" = Some("30s");
        "How long open streams may go on after SIGTERM.", reload;
    DRAIN_DELAY: Text "server.drain_delay", Some("drain-delay"), "COPPICE_DRAIN_DELAY", "TIME" = Some("0s");
        "How long /readyz says so before connections are refused after SIGTERM, for balancers that look at it.", reload;
    UPGRADE_TIMEOUT: Text "server.upgrade_timeout", Some("upgrade-timeout"), "COPPICE_UPGRADE_TIMEOUT", "TIME" = Some("12h");
        "How long streams may go on in a process that was replaced by an upgrade.", reload;

    UPSTREAM: Text "upstream.url", Some("upstream"), "COPPICE_UPSTREAM", "URL" = None;
        "Base URL of the sandbox API: http://, https:// or unix:/path. Required.";
    ENVD_UPSTREAM: List "upstream.envd", Some("envd-upstream"), "COPPICE_ENVD_UPSTREAM", "URL|PORT=URL,…" = None;
        "Where data-plane requests go: one such URL, or one for each sandbox port with * for the rest. Without it they are answered 404.";
    UPSTREAM_API_KEY: Secret "upstream.api_key", Some("upstream-api-key"), "COPPICE_UPSTREAM_API_KEY", "KEY" = None;
        "Sent to the sandbox API as X-API-Key in place of the client's." @ "upstream-api-key-file";
    UPSTREAM_HTTP2: Switch "upstream.http2", Some("upstream-http2"), "COPPICE_UPSTREAM_HTTP2", "on|off" = Some("off");
        "Speaks HTTP/2 to the upstreams: through TLS where they agree to it, else in clear, where they must expect it.";
    UPSTREAM_TLS_CA: Text "upstream.tls_ca", Some("upstream-tls-ca"), "COPPICE_UPSTREAM_TLS_CA", "PATH" = None;
        "A PEM file of the authorities that vouch for https:// upstreams, in place of the system's.", reload;
    UPSTREAM_TLS_CLIENT_CERT: Text "upstream.tls_client_cert", Some("upstream-tls-client-cert"), "COPPICE_UPSTREAM_TLS_CLIENT_CERT", "PATH" = None;
        "A PEM file with the certificate that the gateway shows to https:// upstreams. It needs tls_client_key.", reload;
    UPSTREAM_TLS_CLIENT_KEY: Text "upstream.tls_client_key", Some("upstream-tls-client-key"), "COPPICE_UPSTREAM_TLS_CLIENT_KEY", "PATH" = None;
        "A PEM file with the key of that certificate.", reload;
    UPSTREAM_TLS_SERVER_NAME: Text "upstream.tls_server_name", Some("upstream-tls-server-name"), "COPPICE_UPSTREAM_TLS_SERVER_NAME", "NAME" = None;
        "The name that https:// upstreams have to prove. Without it, it is the host in each URL.";
    CONNECT_TIMEOUT: Text "upstream.connect_timeout", Some("upstream-connect-timeout"), "COPPICE_UPSTREAM_CONNECT_TIMEOUT", "TIME" = Some("5s");
        "How long a connection to an upstream may take.";
    POOL_IDLE_TIMEOUT: Text "upstream.idle_timeout", Some("upstream-idle-timeout"), "COPPICE_UPSTREAM_IDLE_TIMEOUT", "TIME" = Some("60s");
        "How long an unused upstream connection is kept. It must be shorter than the upstream's own keep-alive time.";
    CREATE_TIMEOUT: Text "upstream.create_timeout", Some("upstream-create-timeout"), "COPPICE_UPSTREAM_CREATE_TIMEOUT", "TIME" = Some("180s");
        "How long the sandbox API may take to answer a create. At least 80s, since a create may wait for its sandbox.", reload;
    RESPONSE_TIMEOUT: Text "upstream.response_timeout", Some("upstream-response-timeout"), "COPPICE_UPSTREAM_RESPONSE_TIMEOUT", "TIME" = Some("90s");
        "How long the sandbox API may take to begin any other answer.", reload;
    LOOKUP_TIMEOUT: Text "upstream.lookup_timeout", Some("upstream-lookup-timeout"), "COPPICE_UPSTREAM_LOOKUP_TIMEOUT", "TIME" = Some("5s");
        "How long the gateway's own questions to the sandbox API may take.", reload;

    API_KEYS: SecretList "auth.api_keys", None, "COPPICE_API_KEYS", "TENANT:KEY:SCOPE|SCOPE,…" = None;
        "Keys that clients may present. KEY may be sha256:<hex>, as hash-key prints it.", reload;
    API_KEYS_FILE: Text "auth.api_keys_file", Some("api-keys-file"), "COPPICE_API_KEYS_FILE", "PATH" = None;
        "A file with further keys, as lines or as JSON. A change takes effect within two seconds.", reload;
    PRECEDENCE: Text "auth.precedence", Some("auth-precedence"), "COPPICE_AUTH_PRECEDENCE", "bearer|api-key" = Some("bearer");
        "Which credential is judged when a request carries both.";
    SECRET: Secret "auth.secret", None, "COPPICE_SECRET", "TEXT,…" = None;
        "Signs sandbox tokens: texts of 32 bytes or more, the newest first while rotating. Without it one is made, and kept in state.dir if that is set." @ "secret-file";

    CALLBACK_URL: Text "auth.callback.url", Some("auth-callback-url"), "AUTH_CALLBACK_URL", "URL" = None;
        "The service that is asked who a credential belongs to when no key knows it. Every other setting of the callback needs this one." @ "auth-callback-url-file";
    CALLBACK_TIMEOUT: Text "auth.callback.timeout", Some("auth-callback-timeout"), "AUTH_CALLBACK_TIMEOUT", "TIME" = Some("5s");
        "How long the service may take to begin its answer, waiting for a place and connecting included.";
    CALLBACK_CONNECT_TIMEOUT: Text "auth.callback.connect_timeout", Some("auth-callback-connect-timeout"), "AUTH_CALLBACK_CONNECT_TIMEOUT", "TIME" = Some("1s");
        "How long a connection to the service may take.";
    CALLBACK_PASS_STATUS: List "auth.callback.pass_status", Some("auth-callback-pass-status"), "AUTH_CALLBACK_PASS_STATUS", "STATUS,…" = None;
        "Which of the service's refusals, 403 and 429, a client sees as they are; all others are 401.";
    CALLBACK_UNAVAILABLE_STATUS: Text "auth.callback.unavailable_status", Some("auth-callback-unavailable-status"), "AUTH_CALLBACK_UNAVAILABLE_STATUS", "500|503" = Some("500");
        "What a client gets when the service cannot be asked.";
    CALLBACK_CACHE_TTL: Text "auth.callback.cache_ttl", Some("auth-callback-cache-ttl"), "AUTH_CALLBACK_CACHE_TTL", "TIME" = Some("0s");
        "How long an identity is remembered when the answer's Cache-Control does not say; at most 60s.";
    CALLBACK_CACHE_BY: Text "auth.callback.cache_by", Some("auth-callback-cache-by"), "AUTH_CALLBACK_CACHE_BY", "request|credential" = Some("request");
        "Which requests share a remembered identity: those alike in all that the service is told, or all with the same credential.";
    CALLBACK_STALE_IF_ERROR: Text "auth.callback.stale_if_error", Some("auth-callback-stale-if-error"), "AUTH_CALLBACK_STALE_IF_ERROR", "TIME" = Some("0s");
        "How much longer a remembered identity is used while the service cannot be asked; at most 24h.";
    CALLBACK_MAX_CALLS: Text "auth.callback.max_calls", Some("auth-callback-max-calls"), "AUTH_CALLBACK_MAX_CALLS", "N" = Some("64");
        "Calls under way at once; more wait.";
    CALLBACK_CLIENT_BUDGET: Text "auth.callback.client_budget", Some("auth-callback-client-budget"), "AUTH_CALLBACK_CLIENT_BUDGET", "N" = Some("100");
        "Refused or abandoned calls that one client address may cause at once; they come back over ten seconds.";
    CALLBACK_BREAKER_FAILURES: Text "auth.callback.breaker_failures", Some("auth-callback-breaker-failures"), "AUTH_CALLBACK_BREAKER_FAILURES", "N" = Some("5");
        "Failures in a row after which the service is left alone for a while.";
    CALLBACK_BREAKER_PAUSE: Text "auth.callback.breaker_pause", Some("auth-callback-breaker-pause"), "AUTH_CALLBACK_BREAKER_PAUSE", "TIME" = Some("1s");
        "How long it is left alone before one call probes it.";
    CALLBACK_DEFAULT_TENANT: Text "auth.callback.default_tenant", Some("auth-callback-default-tenant"), "AUTH_CALLBACK_DEFAULT_TENANT", "TENANT" = Some("callback");
        "Whose credential it is when the answer does not say.";
    CALLBACK_DEFAULT_NAME: Text "auth.callback.default_name", Some("auth-callback-default-name"), "AUTH_CALLBACK_DEFAULT_NAME", "NAME" = Some("callback");
        "What its holder is called when the answer does not say.";
    CALLBACK_DEFAULT_SCOPES: List "auth.callback.default_scopes", Some("auth-callback-default-scopes"), "AUTH_CALLBACK_DEFAULT_SCOPES", "SCOPE|SCOPE" = Some("admin|exec|owner|read");
        "What it may do when the answer does not say.";
    CALLBACK_CA: Text "auth.callback.ca", Some("auth-callback-ca"), "AUTH_CALLBACK_CA", "PATH" = None;
        "A PEM file of authorities to trust besides the system's.", reload;
    CALLBACK_CLIENT_CERT: Text "auth.callback.client_cert", Some("auth-callback-client-cert"), "AUTH_CALLBACK_CLIENT_CERT", "PATH" = None;
        "A PEM file with the certificate that the gateway shows to the service. It needs client_key.", reload;
    CALLBACK_CLIENT_KEY: Text "auth.callback.client_key", Some("auth-callback-client-key"), "AUTH_CALLBACK_CLIENT_KEY", "PATH" = None;
        "A PEM file with the key of that certificate.", reload;

    ISOLATION: Switch "tenants.isolation", Some("tenant-isolation"), "COPPICE_TENANT_ISOLATION", "on|off" = Some("on");
        "Whether tenants see and touch only their own sandboxes. When off they are labelled, and that is all.";
    SHOW_MARKER: Switch "tenants.show_marker", Some("tenants-show-marker"), "COPPICE_TENANTS_SHOW_MARKER", "on|off" = Some("on");
        "Whether admins see in answers which tenant a sandbox belongs to.";
    METADATA_RESERVED: List "tenants.metadata_reserved", Some("metadata-reserved"), "COPPICE_METADATA_RESERVED", "NAME|PREFIX*,…" = None;
        "Further metadata keys that callers may not set; a * at the end stands for anything.";
    MAX_SANDBOXES: Text "tenants.max_sandboxes", Some("tenant-max-sandboxes"), "COPPICE_TENANT_MAX_SANDBOXES", "N" = None;
        "Sandboxes that a tenant may have running or paused at once, where tenants.sandbox_limits says nothing of it. 0 means none.", reload;
    SANDBOX_LIMITS: List "tenants.sandbox_limits", Some("tenant-sandbox-limits"), "COPPICE_TENANT_SANDBOX_LIMITS", "TENANT=N,…" = None;
        "The same for single tenants; * stands for all that are not named.", reload;

    QUOTA_STATUS: Text "quota.status", Some("quota-status"), "COPPICE_QUOTA_STATUS", "403|429" = Some("403");
        "The status of the answer to a create above the limit.", reload;

    AUDIT_LOG_CAP: Text "audit.log_cap", Some("audit-log-cap"), "COPPICE_AUDIT_LOG_CAP", "N" = Some("2048");
        "Audit events that are kept in memory, for /audit/events and /audit/stream; the newest ones.";
    AUDIT_LOG: Text "audit.log", Some("audit-log"), "COPPICE_AUDIT_LOG", "PATH" = None;
        "A file that gets every audit event as a line of JSON, chained so that changes show. A SIGHUP opens it anew.";
    AUDIT_POLICY: Text "audit.policy", Some("audit-policy"), "COPPICE_AUDIT_POLICY", "drop|block" = Some("drop");
        "When the disk does not keep up: drop counts what is lost and writes that down, block makes requests of class exec, owner and admin wait, and refuses them after two seconds.";
    AUDIT_SYNC: Text "audit.sync", Some("audit-sync"), "COPPICE_AUDIT_SYNC", "each|TIME|none" = Some("1s");
        "When lines are made to reach the disk: at once, after this time, or when the system likes.";
    AUDIT_ROTATE_SIZE: Text "audit.rotate_size", Some("audit-rotate-size"), "COPPICE_AUDIT_ROTATE_SIZE", "BYTES" = None;
        "The size at which the file is put aside as PATH.<number of its first line>, at least 64K; K, M and G are understood. Without it the file grows.";

    STATE_DIR: Text "state.dir", Some("state-dir"), "COPPICE_STATE_DIR", "PATH" = None;
        "A directory for what must outlive a restart.";

    LOG_FILTER: Text "log.filter", Some("log"), "COPPICE_LOG", "FILTER" = Some("info");
        "What is logged, as in info,coppice_gateway=debug. RUST_LOG is read when COPPICE_LOG is absent.", reload;
    LOG_FORMAT: Text "log.format", Some("log-format"), "COPPICE_LOG_FORMAT", "text|json|auto" = Some("auto");
        "How it is logged; auto is text on a terminal, JSON otherwise.";
}

/// Tables that may stand in the file any number of times, each with two values that belong together.
#[derive(Debug)]
pub struct Pairs {
    /// The dotted name between the double brackets.
    pub key: &'static str,
    /// The names of the two values, both paths.
    pub names: [&'static str; 2],
    /// What they do, as one or two sentences.
    pub help: &'static str,
}

/// Further certificates for TLS.
pub(super) const TLS_PAIRS: &Pairs = &Pairs {
    key: "server.tls",
    names: ["cert", "key"],
    help: "Further certificates, one such table for each. A client is shown the one for the name that it asks for, or the first: that of tls_cert.",
};

/// Every kind of such tables.
pub const PAIRS: &[&Pairs] = &[TLS_PAIRS];

/// Variables of the client-side commands, of settings loading itself, and of one process that starts the next: known, but
/// no settings.
pub(super) const OTHER_VARIABLES: [&str; 4] =
    ["COPPICE_CONFIG", "COPPICE_HANDOVER", "COPPICE_TOKEN", "COPPICE_URL"];

/// Variables that would change who gets in or what is enforced, and that this version does not know. Starting without
/// what they ask for could leave a gateway open, so their mere presence stops the start.
const UNSUPPORTED_VARIABLES: [&str; 6] = [
    "COPPICE_AUDIT_*",
    "COPPICE_QUOTA_*",
    "COPPICE_STORE",
    "COPPICE_STORE_*",
    "COPPICE_TENANT_*",
    "COPPICE_TLS_*",
];

/// As [`UNSUPPORTED_VARIABLES`], in the TOML file. A name stands for everything below it too.
const UNSUPPORTED_KEYS: [&str; 3] = ["server.tls", "store", "tls"];

/// Whether a variable asks for something that this version does not do.
#[must_use]
pub(super) fn is_unsupported_variable(name: &str) -> bool {
    let is_known = SETTINGS.iter().any(|setting| setting.env == name);
    let is_reserved = UNSUPPORTED_VARIABLES.iter().any(|known| match known.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == *known,
    });
    is_reserved && !is_known
}

/// Whether a variable means the auth callback, which decides who gets in: if it is misspelt, nothing may start without
/// what it asks for. `COPPICE_` before it is such a slip too.
#[must_use]
pub(super) fn is_about_callback(variable: &str) -> bool {
    variable.strip_prefix("COPPICE_").unwrap_or(variable).starts_with("AUTH_CALLBACK")
}

/// Whether a flag, given without its dashes, asks for something that this version does not do.
#[must_use]
pub fn is_unsupported_flag(flag: &str) -> bool {
    let name = flag.replace('-', "_").to_uppercase();
    is_unsupported_variable(&name) || is_unsupported_variable(&format!("COPPICE_{name}"))
}

/// Whether a key of the TOML file asks for something that this version does not do.
#[must_use]
pub(super) fn is_unsupported_key(key: &str) -> bool {
    UNSUPPORTED_KEYS.iter().any(|known| {
        key.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '_']))
    })
}
