//! What the upstream makes of the gateway: whether it can be reached, answers, takes the key, lists sandboxes, and keeps metadata;
//! and whether those of the data plane can be reached.
//!
//! Two questions that change nothing there. Nothing is created to find out more.

use std::collections::BTreeMap;

use http::StatusCode;

use crate::app;
use crate::config::{Settings, UpstreamUrl};
use crate::directory::Unavailable;
use crate::http1::ConnectError;
use crate::proxy::census::Page;
use crate::proxy::exchange::Chain;
use crate::sandbox::Marker;

/// What asking came to: a line for the summary, or what is wrong.
pub(super) fn upstream(settings: &Settings) -> Result<String, String> {
    let fail = |why: String| format!("the upstream: {why}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|why| fail(why.to_string()))?;
    let asked = runtime.block_on(async {
        reach(settings, &settings.upstream.url).await?;
        let asker = app::asker(settings);
        let health = asker.health().await.map_err(|Unavailable| "it does not answer")?;
        let listing = asker.page("", None);
        let page = tokio::time::timeout(settings.upstream.response_timeout, listing).await;
        let page = page.map_err(|_| "listing sandboxes took too long")?;
        Ok((health, page.map_err(|Unavailable| "its sandboxes could not be listed")?))
    });
    let (health, page) = asked.map_err(fail)?;
    let key = match (&settings.upstream.api_key, settings.auth.is_open()) {
        (Some(_), _) => Key::Own,
        (None, true) => Key::Clients,
        (None, false) => Key::None,
    };
    judge(health, &page, key).map_err(fail)
}

/// What came of connecting to those of the data plane: a line for the summary, or what is wrong; none where there are none.
pub(super) fn data(settings: &Settings) -> Option<Result<String, String>> {
    let urls: BTreeMap<String, &UpstreamUrl> =
        settings.upstream.envd.iter().map(|url| (url.to_string(), url)).collect();
    if urls.is_empty() {
        return None;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let reached = runtime.map_err(|why| why.to_string()).and_then(|runtime| {
        urls.values().try_for_each(|url| runtime.block_on(reach(settings, url)))
    });
    let reached = reached.map(|()| "can be reached".to_owned());
    Some(reached.map_err(|why| format!("the data plane's upstream: {why}")))
}

/// Connects, or says why that fails and what may help.
async fn reach(settings: &Settings, url: &UpstreamUrl) -> Result<(), String> {
    let reached = app::reach(settings, url).await;
    reached.map_err(|why| format!("{url}: {}{}", Chain(&why), advice(&why)))
}

const fn advice(why: &ConnectError) -> &'static str {
    match why {
        ConnectError::Untrusted(_) => {
            "; upstream.tls_ca names a file with the authorities to trust"
        }
        ConnectError::Misnamed(_) => "; upstream.tls_server_name says which name is expected",
        ConnectError::OutOfDate(_) => "; it has to be renewed, or a clock is wrong",
        ConnectError::BadCertificate(_) => {
            "; a server's certificate has to be another than its authority's"
        }
        ConnectError::Handshake(_) => "; see whether it expects https:// there",
        ConnectError::Unaddressed
        | ConnectError::Late
        | ConnectError::Unreachable(_)
        | ConnectError::Changed => "",
    }
}

/// Whose key the upstream is shown when the gateway forwards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Key {
    /// The one that is set.
    Own,
    /// None is set, and the gateway is open: what clients send.
    Clients,
    /// Nobody's.
    None,
}

fn judge(health: StatusCode, page: &Page, key: Key) -> Result<String, String> {
    let answers = format!("answers (GET /health: {})", health.as_u16());
    let status = page.status.as_u16();
    if matches!(page.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        return match key {
            Key::Own => {
                Err(format!("it refuses the key of COPPICE_UPSTREAM_API_KEY with {status}"))
            }
            Key::None => {
                Err(format!("it wants a key ({status}), and COPPICE_UPSTREAM_API_KEY is not set"))
            }
            Key::Clients => {
                Ok(format!("{answers}, wants a key ({status}), which clients have to bring"))
            }
        };
    }
    if page.status != StatusCode::OK {
        return Err(format!("it answered {status} to a listing of sandboxes"));
    }
    let sandboxes = page.sandboxes();
    let sandboxes = sandboxes.map_err(|Unavailable| "what it lists are no sandboxes")?;
    let key = if key == Key::Own { "takes the key" } else { "asks for no key" };
    let lists = match page.generation {
        1 => "lists sandboxes as v1 alone",
        _ => "lists sandboxes as v2",
    };
    let keeps = if sandboxes.iter().any(|sandbox| sandbox.marker == Marker::Present) {
        "keeps metadata"
    } else {
        "lists no sandbox with a marker, so that the first create will tell whether it keeps metadata"
    };
    Ok(format!("{answers}, {key}, {lists}, {keeps}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_listing_that_can_be_read_is_sound() {
        const MARKED: &str = r#"[{"sandboxID":"i1","metadata":{"a":"b"}},{"sandboxID":"i2","metadata":{"coppice_tenant_id":"t"}}]"#;
        for (status, generation, json, key, said) in [
            (
                200,
                2,
                MARKED,
                Key::Own,
                Ok("204), takes the key, lists sandboxes as v2, keeps metadata"),
            ),
            (
                200,
                1,
                "[]",
                Key::None,
                Ok("asks for no key, lists sandboxes as v1 alone, lists no sandbox with"),
            ),
            (401, 2, "", Key::Own, Err("refuses the key of COPPICE_UPSTREAM_API_KEY with 401")),
            (
                403,
                2,
                "",
                Key::None,
                Err("wants a key (403), and COPPICE_UPSTREAM_API_KEY is not set"),
            ),
            (401, 2, "", Key::Clients, Ok("wants a key (401), which clients have to bring")),
            (404, 1, "", Key::Own, Err("answered 404 to a listing")),
            (200, 2, "{}", Key::Own, Err("are no sandboxes")),
            (200, 2, "[{}]", Key::Own, Err("are no sandboxes")),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let page = Page { generation, status, json: json.into(), next: None };
            let judged = judge(StatusCode::NO_CONTENT, &page, key);
            match (&judged, said) {
                (Ok(line), Ok(part)) | (Err(line), Err(part)) => {
                    assert!(line.contains(part), "{line}");
                }
                _ => panic!("{judged:?} instead of {said:?}"),
            }
        }
    }
}
