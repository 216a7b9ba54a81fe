//! `docs/operate/errors.md` has a line for every `error_code`, with the status and the sentence that go with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use coppice_gateway::error::{GatewayError, OverQuota};
use coppice_gateway::listener::head_guard::Refusal;
use coppice_gateway::principal::{Scope, TenantId};
use coppice_gateway::route::Methods;
use coppice_gateway::target::SandboxId;
use http::StatusCode;

use super::book::{Page, root};

/// What the page has to say of a code: its statuses, and its sentences, as far as they are written where the code is.
type Said = BTreeMap<String, (BTreeSet<u16>, BTreeSet<String>)>;

/// One error of each kind.
fn errors() -> Vec<GatewayError> {
    use GatewayError as E;
    let tenant: TenantId = TenantId::parse("team-a").unwrap();
    let over = |status| E::QuotaExceeded { tenant: tenant.clone(), limit: 4711, status };
    let errors = vec![
        E::HeadTimeout,
        E::HeadTooLarge,
        E::BodyTooLarge,
        E::BodyTimeout,
        E::NoCredential,
        E::BadCredential,
        E::BadToken,
        E::BadSignature,
        E::CallbackRejected,
        E::CallbackForbidden,
        E::CallbackRateLimited(None),
        E::TooManyAttempts,
        E::CallbackFailed,
        E::CallbackUnavailable,
        E::MissingScope(Scope::Exec),
        over(OverQuota::Forbidden),
        over(OverQuota::TooManyRequests),
        E::QuotaUnknown,
        E::NotFound,
        E::SandboxNotFound,
        E::SandboxGone(SandboxId::parse("i1").unwrap()),
        E::MethodNotAllowed(Methods::ANY),
        E::NoDataPlane,
        E::UpstreamUnreachable { unknown_outcome: true },
        E::UpstreamBadAnswer { unknown_outcome: true },
        E::UpstreamTimeout { unknown_outcome: true },
        E::OwnershipUnknown,
        E::AuditUnavailable,
        E::NotReady,
        E::Internal,
    ];
    // A kind that is missing above does not compile here; what its line needs is then easily seen.
    for error in &errors {
        match error {
            E::BadRequest(..)
            | E::HeadTimeout
            | E::HeadTooLarge
            | E::BodyTooLarge
            | E::BodyTimeout
            | E::NoCredential
            | E::BadCredential
            | E::BadToken
            | E::BadSignature
            | E::CallbackRejected
            | E::CallbackForbidden
            | E::CallbackRateLimited(_)
            | E::TooManyAttempts
            | E::CallbackFailed
            | E::CallbackUnavailable
            | E::MissingScope(_)
            | E::QuotaExceeded { .. }
            | E::QuotaUnknown
            | E::NotFound
            | E::SandboxNotFound
            | E::SandboxGone(_)
            | E::MethodNotAllowed(_)
            | E::NoDataPlane
            | E::UpstreamUnreachable { .. }
            | E::UpstreamBadAnswer { .. }
            | E::UpstreamTimeout { .. }
            | E::OwnershipUnknown
            | E::AuditUnavailable
            | E::NotReady
            | E::Internal => {}
        }
    }
    errors
}

/// The bad requests that are written out anywhere in the sources: code and sentence.
fn bad_requests(directory: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            bad_requests(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            for rest in text.split("GatewayError::BadRequest(").skip(1) {
                let Some(rest) = rest.trim_start().strip_prefix('"') else { continue };
                let (code, rest) = rest.split_once('"').unwrap();
                let rest = rest.trim_start_matches([',', ' ', '\n']);
                let sentence = rest.strip_prefix('"').and_then(|rest| rest.split_once('"'));
                let sentence = sentence.map_or("", |(sentence, _)| sentence);
                found.push((code.to_owned(), sentence.to_owned()));
            }
        }
    }
}

fn expected() -> Said {
    let mut all = Said::new();
    let mut add = |code: &str, status: StatusCode, sentence: &str| {
        let (statuses, sentences) = all.entry(code.to_owned()).or_default();
        statuses.insert(status.as_u16());
        if !sentence.is_empty() {
            sentences.insert(sentence.to_owned());
        }
    };
    for error in errors() {
        let sentence = error.sentence().replace("team-a", "T").replace("4711", "N");
        let sentence = sentence.replace("scope: exec", "scope: S");
        add(error.answer().code, error.answer().status, &sentence);
    }
    for refusal in Refusal::ALL {
        if refusal.status() == StatusCode::BAD_REQUEST {
            add(refusal.code(), refusal.status(), refusal.message());
        }
    }
    // A version is refused by its own status, with the code of a bad request.
    add(Refusal::Version.code(), StatusCode::BAD_REQUEST, Refusal::Version.message());
    let mut found = Vec::new();
    bad_requests(&root().join("src"), &mut found);
    assert!(found.len() > 10, "{found:?}");
    for (code, sentence) in found {
        add(&code, StatusCode::BAD_REQUEST, &sentence);
    }
    all
}

#[test]
fn every_error_code_has_its_line() {
    let page = Page::read(Path::new("docs/operate/errors.md"));
    let rows = page.prose.iter().filter(|(_, line)| line.starts_with("| `"));
    let rows = rows.filter(|(_, line)| !line.starts_with("| `error_code`"));
    // Angle brackets would be taken for HTML.
    let plain = |row: &String| row.replace("&lt;", "<").replace("&gt;", ">");
    let rows: Vec<_> = rows.map(|(number, row)| (number, plain(row))).collect();
    let mut seen = BTreeSet::new();
    let expected = expected();
    let mut wrong = Vec::new();
    for (number, row) in &rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [code, status, sentence, cause, remedy] = cells[..] else {
            panic!("{number}: five cells are code, status, sentence, cause and remedy: {row}");
        };
        let code = code.trim_matches('`');
        assert!(seen.insert(code), "{number}: {code} is there twice");
        assert!(!cause.is_empty() && !remedy.is_empty(), "{number}: {code}");
        let Some((statuses, sentences)) = expected.get(code) else {
            wrong.push(format!("{number}: there is no {code}"));
            continue;
        };
        let said: BTreeSet<u16> = status.split(" or ").map(|text| text.parse().unwrap()).collect();
        if said != *statuses {
            wrong.push(format!("{number}: {code} is {statuses:?}"));
        }
        let missing = sentences.iter().filter(|wanted| !sentence.contains(&***wanted));
        wrong.extend(missing.map(|missing| format!("{number}: {code} says “{missing}”")));
    }
    let missing = expected.iter().filter(|(code, _)| !seen.contains(code.as_str()));
    wrong.extend(missing.map(|(code, said)| format!("no line for {code}: {said:?}")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
