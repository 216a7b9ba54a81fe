//! envd: who gets in, files, processes, watches.

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt as _;
use http::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::client::{Frames, Setup, send};
use crate::simulator::Options;

const ENVD: u16 = 49983;
const GET: Method = Method::GET;
const POST: Method = Method::POST;

#[tokio::test]
async fn envd_wants_its_token() {
    let setup = Setup::new().await;
    for (method, path, token, status) in [
        (GET, "/health", None, 204),
        (GET, "/envs", None, 401),
        (GET, "/envs", Some("wrong"), 401),
        (GET, "/envs", Some(setup.token.as_str()), 200),
        (GET, "/metrics", Some(setup.token.as_str()), 200),
        (GET, "/files?path=x", None, 401),
        (GET, "/files?path=x&signature=v1_no", None, 401),
        (GET, "/files?path=x", Some(setup.token.as_str()), 404),
        (POST, "/process.Process/List", None, 401),
        (POST, "/init", None, 204),
        (POST, "/freeze", None, 401),
        (POST, "/freeze", Some(setup.token.as_str()), 204),
    ] {
        let mut builder = setup.bare(ENVD, method, path);
        if let Some(token) = token {
            builder = builder.header("x-access-token", token);
        }
        assert_eq!(
            send(builder.body(Body::empty()).unwrap()).await.status,
            status,
            "{path} {token:?}"
        );
    }
}

#[tokio::test]
async fn a_sandbox_that_is_not_running_is_a_502_that_says_so() {
    let setup = Setup::new().await;
    setup.api(POST, &format!("/sandboxes/{}/pause", setup.id), Value::Null).await;
    let paused = send(setup.at(ENVD, GET, "/health").body(Body::empty()).unwrap()).await;
    let expected =
        json!({ "sandboxId": setup.id, "message": "The sandbox was not found", "code": 502 });
    assert_eq!((paused.status.as_u16(), paused.json()), (502, expected));
    setup.api(POST, &format!("/sandboxes/{}/resume", setup.id), Value::Null).await;
    let resumed = send(setup.at(ENVD, GET, "/health").body(Body::empty()).unwrap()).await;
    assert_eq!(resumed.status, 204);
}

async fn upload(setup: &Setup, path: &str, body: Body) -> Value {
    let request = setup
        .at(ENVD, POST, &format!("/files?path={path}"))
        .header("content-type", "application/octet-stream")
        .header("x-metadata-Color", "blue");
    send(request.body(body).unwrap()).await.json()
}

#[tokio::test]
async fn files_go_in_and_come_out() {
    let setup = Setup::new().await;
    let made = upload(&setup, "a/b.txt", Body::from("hello")).await;
    assert_eq!(made[0]["path"], "/home/user/a/b.txt");
    assert_eq!(made[0]["metadata"], json!({ "color": "blue" }));
    let get = async |range: Option<&str>| {
        let mut builder = setup.at(ENVD, GET, "/files?path=/home/user/a/b.txt");
        if let Some(range) = range {
            builder = builder.header("range", range);
        }
        let answer = send(builder.body(Body::empty()).unwrap()).await;
        (answer.status.as_u16(), String::from_utf8(answer.body.to_vec()).unwrap())
    };
    assert_eq!(get(None).await, (200, "hello".to_owned()));
    for (range, part) in [("bytes=1-2", "el"), ("bytes=-2", "lo"), ("bytes=3-99", "lo")] {
        assert_eq!(get(Some(range)).await, (206, part.to_owned()), "{range}");
    }
    assert_eq!(get(Some("bytes=9-")).await, (200, "hello".to_owned()));
    let head = setup.at(ENVD, Method::HEAD, "/files?path=a/b.txt").body(Body::empty()).unwrap();
    assert_eq!(send(head).await.headers["content-length"], "5");

    let form = "--x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"/tmp/f\"\r\n\r\nformed\r\n--x--\r\n";
    let request =
        setup.at(ENVD, POST, "/files").header("content-type", "multipart/form-data; boundary=x");
    let made = send(request.body(Body::from(form)).unwrap()).await;
    assert_eq!(
        (made.json()[0]["path"].clone(), made.json()[0]["size"].clone()),
        (json!("/tmp/f"), json!(6))
    );

    let list = setup
        .rpc("/filesystem.Filesystem/ListDir", json!({ "path": ".", "depth": 2 }))
        .await
        .json();
    let names: Vec<_> =
        list["entries"].as_array().unwrap().iter().map(|entry| entry["name"].clone()).collect();
    assert_eq!(names, ["a", "b.txt"]);
    for (method, message, status) in [
        ("Stat", json!({ "path": "nope" }), 404),
        ("MakeDir", json!({ "path": "a" }), 409),
        ("MakeDir", json!({ "path": "d" }), 200),
        ("Move", json!({ "source": "a", "destination": "d/a" }), 200),
        ("Stat", json!({ "path": "d/a/b.txt" }), 200),
        ("Remove", json!({ "path": "d" }), 200),
        ("Stat", json!({ "path": "d/a/b.txt" }), 404),
        ("Nothing", json!({}), 404),
    ] {
        let answer = setup.rpc(&format!("/filesystem.Filesystem/{method}"), message.clone()).await;
        assert_eq!(answer.status, status, "{method} {message}");
    }
}

#[tokio::test]
async fn large_files_leave_only_length_and_digest() {
    const MIB: usize = 1 << 20;
    let setup = Setup::new().await;
    let chunk = bytes::Bytes::from(vec![0; MIB]);
    let chunks =
        futures_util::stream::iter((0..65).map(move |_| Ok::<_, std::io::Error>(chunk.clone())));
    let made = upload(&setup, "big", Body::from_stream(chunks)).await;
    assert_eq!(made[0]["size"], 65 * MIB);
    let read = send(setup.at(ENVD, GET, "/files?path=big").body(Body::empty()).unwrap()).await;
    assert_eq!(read.status, 410);

    let zeros = setup.at(ENVD, GET, "/files?path=/dev/zeros/3000000").body(Body::empty()).unwrap();
    let zeros = super::client::open(zeros).await;
    assert_eq!(zeros.headers()["content-length"], "3000000");
    let mut stream = Body::new(zeros.into_body()).into_data_stream();
    let mut length = 0;
    while let Some(chunk) = stream.next().await {
        length += chunk.unwrap().len();
    }
    assert_eq!(length, 3_000_000);
}

fn text(event: &Value, channel: &str) -> String {
    let data = event["data"][channel].as_str().unwrap_or_else(|| panic!("{channel} in {event}"));
    String::from_utf8(STANDARD.decode(data).unwrap()).unwrap()
}

#[tokio::test]
async fn output_comes_as_it_is_written() {
    let setup = Setup::new().await;
    let mut frames = setup.start("echo one; sleep 0.2; echo two >&2; exit 3").await;
    frames.pid().await;
    assert_eq!(text(&frames.event().await, "stdout"), "one\n");
    let first = Instant::now();
    assert_eq!(text(&frames.event().await, "stderr"), "two\n");
    assert!(first.elapsed().as_millis() > 100, "not both at once");
    let end = json!({ "end": { "exitCode": 3, "exited": true, "status": "exit status 3", "error": "exit status 3" } });
    assert_eq!(frames.event().await, end);
    assert_eq!(frames.next().await, Some((2, json!({}))));
    assert_eq!(frames.next().await, None);
}

async fn ends(frames: &mut Frames) -> Value {
    frames.event().await["end"].clone()
}

#[tokio::test]
async fn processes_take_input_and_signals() {
    let setup = Setup::new().await;
    let mut frames = setup.start("cat").await;
    let process = json!({ "pid": frames.pid().await });
    let mut second = setup.stream("/process.Process/Connect", json!({ "process": process })).await;
    second.pid().await;
    let input = json!({ "process": process, "input": { "stdin": STANDARD.encode("hi") } });
    assert_eq!(setup.rpc("/process.Process/SendInput", input).await.status, 200);
    assert_eq!(text(&frames.event().await, "stdout"), "hi");
    assert_eq!(text(&second.event().await, "stdout"), "hi");
    let listed = setup.rpc("/process.Process/List", json!({})).await.json();
    assert_eq!(listed["processes"][0]["pid"], process["pid"]);
    setup.rpc("/process.Process/CloseStdin", json!({ "process": process })).await;
    assert_eq!(ends(&mut frames).await["exitCode"], 0);
    assert_eq!(ends(&mut second).await["exitCode"], 0);

    let mut frames = setup.start("sleep 1000").await;
    let process = json!({ "pid": frames.pid().await });
    let kill = json!({ "process": process, "signal": "SIGNAL_SIGKILL" });
    assert_eq!(setup.rpc("/process.Process/SendSignal", kill.clone()).await.status, 200);
    assert_eq!(ends(&mut frames).await["status"], "signal: killed");
    let again = setup.rpc("/process.Process/SendSignal", kill).await;
    assert_eq!((again.status.as_u16(), again.json()["code"].clone()), (404, json!("not_found")));
}

#[tokio::test]
async fn streamed_input_arrives_before_the_stream_ends() {
    let setup = Setup::new().await;
    let mut frames = setup.start("cat").await;
    let pid = frames.pid().await;
    let frame = |message: Value| {
        let message = message.to_string();
        let mut frame = vec![0];
        frame.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        frame.extend(message.as_bytes());
        Ok::<_, std::io::Error>(bytes::Bytes::from(frame))
    };
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    let mut receiver = receiver;
    let body = Body::from_stream(futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx)));
    let request = setup
        .at(ENVD, POST, "/process.Process/StreamInput")
        .header("content-type", "application/connect+json")
        .body(body)
        .unwrap();
    let answer = tokio::spawn(send(request));
    sender.send(frame(json!({ "start": { "process": { "pid": pid } } }))).await.unwrap();
    for word in ["a", "b"] {
        let data = json!({ "data": { "input": { "stdin": STANDARD.encode(word) } } });
        sender.send(frame(data)).await.unwrap();
        assert_eq!(text(&frames.event().await, "stdout"), word);
    }
    drop(sender);
    let body = answer.await.unwrap().body;
    assert_eq!(&body[..], b"\0\0\0\0\x02{}\x02\0\0\0\x02{}");
}

#[tokio::test]
async fn a_terminal_echoes_runs_and_resizes() {
    let setup = Setup::new().await;
    let message = json!({
        "process": { "cmd": "/bin/bash", "args": ["-i", "-l"] },
        "pty": { "size": { "cols": 80, "rows": 24 } },
    });
    let mut frames = setup.stream("/process.Process/Start", message).await;
    let process = json!({ "pid": frames.pid().await });
    let size = json!({ "process": process, "pty": { "size": { "cols": 100, "rows": 30 } } });
    assert_eq!(setup.rpc("/process.Process/Update", size).await.status, 200);
    let input = json!({ "process": process, "input": { "pty": STANDARD.encode("stty sizX\x7fe\rexit 4\r") } });
    setup.rpc("/process.Process/SendInput", input).await;
    let mut shown = String::new();
    let end = loop {
        let event = frames.event().await;
        if event["end"].is_object() {
            break event["end"].clone();
        }
        shown.push_str(&text(&event, "pty"));
    };
    assert_eq!(end["exitCode"], 4);
    assert_eq!(
        shown,
        "user@simulator:~$ stty sizX\x08 \x08e\r\n30 100\r\nuser@simulator:~$ exit 4\r\n"
    );
}

#[tokio::test]
async fn a_deadline_ends_the_process_and_a_lost_client_does_not() {
    let setup = Setup::new().await;
    let mut left = setup.start("sleep 1000").await;
    let pid = left.pid().await;
    drop(left);
    let listed = setup.rpc("/process.Process/List", json!({})).await.json();
    assert_eq!(listed["processes"][0]["pid"], pid);

    let message =
        json!({ "process": { "cmd": "sleep", "args": ["1000"] }, "tag": "timed" }).to_string();
    let mut body = vec![0];
    body.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    body.extend(message.as_bytes());
    let request = setup
        .at(ENVD, POST, "/process.Process/Start")
        .header("content-type", "application/connect+json")
        .header("connect-timeout-ms", "50");
    let answer = send(request.body(Body::from(body)).unwrap()).await;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(text.contains("deadline_exceeded"), "{text}");
    let gone = async {
        let select = json!({ "process": { "tag": "timed" }, "signal": 15 });
        while setup.rpc("/process.Process/SendSignal", select.clone()).await.status != 404 {}
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), gone).await.unwrap();
}

#[tokio::test]
async fn killing_the_sandbox_breaks_its_streams_off() {
    let setup = Setup::new().await;
    let mut frames = setup.start("sleep 1000").await;
    frames.pid().await;
    setup.api(Method::DELETE, &format!("/sandboxes/{}", setup.id), Value::Null).await;
    assert_eq!(frames.next().await, None, "neither an end event nor an end of stream");
}

#[tokio::test]
async fn watchers_hear_of_changes() {
    let setup = Setup::new().await;
    let watch = json!({ "path": "/home/user", "includeEntry": true });
    let mut stream = setup.stream("/filesystem.Filesystem/WatchDir", watch.clone()).await;
    assert_eq!(stream.next().await, Some((0, json!({ "start": {} }))));
    let created = setup.rpc("/filesystem.Filesystem/CreateWatcher", watch).await.json();
    let watcher = json!({ "watcherId": created["watcherId"] });
    upload(&setup, "f", Body::from("x")).await;
    upload(&setup, "deep/f", Body::from("x")).await;
    setup.rpc("/filesystem.Filesystem/Move", json!({ "source": "f", "destination": "g" })).await;
    setup.rpc("/filesystem.Filesystem/Remove", json!({ "path": "g" })).await;
    let events = setup.rpc("/filesystem.Filesystem/GetWatcherEvents", watcher.clone()).await.json();
    let events: Vec<_> = events["events"].as_array().unwrap().clone();
    let seen: Vec<_> = events
        .iter()
        .map(|event| {
            format!("{} {}", event["type"].as_str().unwrap(), event["name"].as_str().unwrap())
        })
        .collect();
    let expected = ["CREATE f", "WRITE f", "RENAME f", "CREATE g", "REMOVE g"];
    assert_eq!(seen, expected.map(|event| format!("EVENT_TYPE_{event}")));
    assert_eq!(events[0]["entry"]["path"], "/home/user/f");
    for event in &events {
        assert_eq!(stream.next().await, Some((0, json!({ "filesystem": event }))));
    }
    setup.rpc("/filesystem.Filesystem/RemoveWatcher", watcher.clone()).await;
    assert_eq!(setup.rpc("/filesystem.Filesystem/GetWatcherEvents", watcher).await.status, 404);
}

#[tokio::test]
async fn local_processes_are_real() {
    let options = Options { local_processes: true, ..Options::default() };
    let setup =
        Setup::with(options, json!({ "templateID": "base", "envVars": { "WHO": "me" } })).await;
    let mut frames = setup.start("read x; echo $((40 + 2)) $WHO $x").await;
    let process = json!({ "pid": frames.pid().await });
    let input = json!({ "process": process, "input": { "stdin": STANDARD.encode("in\n") } });
    setup.rpc("/process.Process/SendInput", input).await;
    assert_eq!(text(&frames.event().await, "stdout"), "42 me in\n");
    assert_eq!(ends(&mut frames).await["exitCode"], 0);

    let mut frames = setup.start("sleep 1000 & wait").await;
    let process = json!({ "pid": frames.pid().await });
    let kill = json!({ "process": process, "signal": "SIGNAL_SIGTERM" });
    setup.rpc("/process.Process/SendSignal", kill).await;
    assert_eq!(ends(&mut frames).await["status"], "signal: terminated");
}
