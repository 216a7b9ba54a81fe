//! Where requests go: the settings about upstreams, as the forwarder takes them, and what can be asked of an upstream
//! without a gateway.

use std::sync::Arc;

use http::HeaderValue;

use crate::config::{Settings, TenantSettings, UpstreamSettings, UpstreamUrl};
use crate::http1::ConnectError;
use crate::proxy::edit::Reserved;
use crate::proxy::lookup::Asker;
use crate::proxy::pool::{Settings as Connections, build};
use crate::proxy::{Marking, Shown, Timeouts, Upstream, Upstreams, v1};

/// The upstreams that the settings name, and how they are asked.
pub(super) fn of(settings: &Settings) -> Upstreams {
    let upstream = &settings.upstream;
    Upstreams {
        control: address(upstream, &upstream.url),
        key: key(upstream),
        ports: upstream.envd.by_port().map(|(port, url)| (port, address(upstream, url))).collect(),
        any_port: upstream.envd.rest().map(|url| address(upstream, url)),
        domain: settings
            .server
            .domain
            .as_ref()
            .map_or("localhost", |domain| domain.as_str())
            .into(),
        timeouts: Timeouts::new(
            upstream.response_timeout,
            upstream.create_timeout,
            upstream.lookup_timeout,
        ),
        marking: marking(&settings.tenants),
        dialects: v1::Dialects::default(),
    }
}

/// How connections to them are opened and kept.
pub(super) const fn pool(upstream: &UpstreamSettings) -> Connections {
    Connections {
        connect_timeout: upstream.connect_timeout,
        idle_timeout: upstream.idle_timeout,
        http2: upstream.http2,
    }
}

/// Asks the upstream that the settings name, without a gateway. Call it inside a runtime.
#[must_use]
pub fn asker(settings: &Settings) -> Asker {
    Asker::new(build(&pool(&settings.upstream)), Arc::new(of(settings)))
}

/// Sees whether connections to an upstream can be opened, without a gateway. Call it inside a runtime.
///
/// # Errors
/// They cannot.
pub async fn reach(settings: &Settings, url: &UpstreamUrl) -> Result<(), ConnectError> {
    let connections = build(&pool(&settings.upstream));
    connections.reach(&url.address(&settings.upstream.tls)).await
}

fn address(upstream: &UpstreamSettings, url: &UpstreamUrl) -> Upstream {
    Upstream::new(url.address(&upstream.tls), url.path_prefix())
}

fn key(upstream: &UpstreamSettings) -> Option<HeaderValue> {
    let mut key = HeaderValue::from_str(upstream.api_key.as_ref()?.expose()).ok()?;
    key.set_sensitive(true);
    Some(key)
}

fn marking(tenants: &TenantSettings) -> Marking {
    let names = tenants.metadata_reserved.iter().map(ToString::to_string);
    let names: Vec<String> = names.collect();
    Marking {
        reserved: Reserved::new(names.iter().map(String::as_str)),
        shown: if tenants.show_marker { Shown::ToAdmins } else { Shown::ToNobody },
    }
}
