//! `check --live`: asks the services that the settings name, once each, and sees whether sandboxes' ports can be reached.
//!
//! The auth callback is shown a credential that was made up on the spot: whoever lets that one in lets everybody in.

mod upstream;

use http::{HeaderValue, Method, StatusCode};

use crate::callback::{self, Callback, Question};
use crate::config::{LogFormat, LogSettings, Settings};
use crate::credential::{Credential, Kind};
use crate::secret::Secret;
use crate::telemetry;

/// What a service said: its name and a line for the summary, or what is wrong.
pub(super) type Said = Result<(&'static str, String), String>;

/// Asks all of them. Causes of what is wrong go to the log.
pub(super) fn ask(settings: &Settings) -> Vec<Said> {
    let filter = settings.log.filter.clone();
    telemetry::start(&LogSettings { filter, format: LogFormat::Text });
    let upstream = upstream::upstream(settings).map(|line| ("upstream, live", line));
    let data = upstream::data(settings).map(|line| line.map(|line| ("envd-upstream, live", line)));
    let callback = settings.auth.callback.as_ref().map(callback);
    let callback = callback.map(|said| said.map(|line| ("auth callback, live", line)));
    std::iter::once(upstream).chain(data).chain(callback).collect()
}

/// What asking came to: a line for the summary, or what is wrong.
fn callback(settings: &callback::Settings) -> Result<String, String> {
    let fail = |why: String| format!("the auth callback: {why}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|why| fail(why.to_string()))?;
    let made_up = Secret::random("e2b_", 20).map_err(|why| fail(why.to_string()))?;
    let status = runtime.block_on(async {
        let callback = Callback::new(settings.clone()).map_err(|why| why.to_string())?;
        let line = callback.line().map_err(|why| why.to_string())?;
        let question = Question {
            credential: Credential::new(Kind::ApiKey, made_up.expose()),
            method: &Method::GET,
            path: "/sandboxes",
            host: None,
            request_id: &HeaderValue::from_static("check"),
            client: None,
        };
        callback.probe(&line, &question).await.map_err(|why| why.to_string())
    });
    judge(status.map_err(fail)?).map_err(fail)
}

/// What an answer to a made-up credential says of a service.
fn judge(status: StatusCode) -> Result<String, String> {
    if status == StatusCode::OK {
        return Err("it answered 200 to a credential made up for this check: it lets everybody in"
            .to_owned());
    }
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        return Ok(format!("refuses an unknown credential with {}", status.as_u16()));
    }
    let why = if status.is_redirection() {
        "redirects are never followed, and refuse everybody"
    } else if status.is_server_error() {
        "it does not work; everybody is refused"
    } else {
        "401 or 403 was expected for an unknown credential; only 200 lets anybody in"
    };
    Err(format!("it answered {} to an unknown credential: {why}", status.as_u16()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_is_sound() {
        for (status, sound) in [
            (200, false),
            (204, false),
            (302, false),
            (401, true),
            (403, true),
            (404, false),
            (500, false),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let judged = judge(status);
            assert_eq!(judged.is_ok(), sound, "{status} {judged:?}");
        }
    }
}
