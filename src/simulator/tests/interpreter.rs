//! The code interpreter: tokens, contexts, output.

use axum::body::Body;
use http::Method;
use serde_json::{Value, json};

use super::client::{Setup, send};

const PORT: u16 = 49999;
const POST: Method = Method::POST;

async fn execute(setup: &Setup, body: Value) -> Vec<Value> {
    let request = setup.at(PORT, POST, "/execute").body(Body::from(body.to_string())).unwrap();
    let answer = send(request).await;
    assert_eq!(answer.status, 200);
    let lines = answer.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

#[tokio::test]
async fn either_token_opens_it() {
    let setup = Setup::new().await;
    for (name, token, status) in [
        ("x-access-token", setup.token.as_str(), 200),
        ("e2b-traffic-access-token", setup.traffic.as_str(), 200),
        ("x-access-token", setup.traffic.as_str(), 403),
        ("x-other", "", 403),
    ] {
        let request = setup.bare(PORT, Method::GET, "/contexts").header(name, token);
        assert_eq!(send(request.body(Body::empty()).unwrap()).await.status, status, "{name}");
    }
}

#[tokio::test]
async fn code_runs_in_its_context() {
    let setup = Setup::new().await;
    let lines = execute(&setup, json!({ "code": "x = 20\nprint('hi')\nx + 1" })).await;
    let kinds: Vec<_> = lines.iter().map(|line| line["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["number_of_executions", "stdout", "result", "end_of_execution"]);
    assert_eq!((lines[1]["text"].clone(), lines[2]["text"].clone()), (json!("hi\n"), json!("21")));

    let request = setup.at(PORT, POST, "/contexts").body(Body::from("{}")).unwrap();
    let context = send(request).await.json();
    let other = execute(&setup, json!({ "code": "x", "context_id": context["id"] })).await;
    assert_eq!(other[1]["name"], "NameError");
    let again = execute(&setup, json!({ "code": "x" })).await;
    assert_eq!(
        (again[0]["execution_count"].clone(), again[1]["text"].clone()),
        (json!(2), json!("20"))
    );

    let path = format!("/contexts/{}", context["id"].as_str().unwrap());
    for (method, suffix, status) in
        [(POST, "/restart", 204), (Method::DELETE, "", 204), (Method::DELETE, "", 404)]
    {
        let request =
            setup.at(PORT, method, &format!("{path}{suffix}")).body(Body::empty()).unwrap();
        assert_eq!(send(request).await.status, status, "{suffix}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_interrupts_its_code() {
    let setup = Setup::new().await;
    let body = json!({ "code": "import time\nprint(1)\ntime.sleep(1000)" }).to_string();
    let request = setup.at(PORT, POST, "/execute").body(Body::from(body)).unwrap();
    drop(super::client::open(request).await);
    // The same context: it would wait for the sleep.
    let lines = tokio::time::timeout(
        std::time::Duration::from_secs(10),
        execute(&setup, json!({ "code": "1" })),
    );
    assert_eq!(lines.await.unwrap()[1]["text"], "1");
}
