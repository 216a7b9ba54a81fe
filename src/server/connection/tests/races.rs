//! Bytes that arrive around the moment of parking. None is lost, none is read twice, no order changes.

use super::*;

/// Milliseconds after the first request was answered. A connection is looked at once a second.
const MOMENTS: [u64; 13] =
    [0, 500, 999, 1000, 1001, 1500, 1998, 1999, 2000, 2001, 2002, 2500, 3001];

/// Sends these pieces, `gap` milliseconds apart and from this moment on, and expects answers with these bodies.
async fn answered(moment: u64, gap: u64, pieces: Vec<Vec<u8>>, expected: &[&str]) {
    let mut talk = Talk::new();
    talk.ask("/first").await;
    sleep(Duration::from_millis(moment)).await;
    for piece in pieces {
        talk.send(piece).await;
        sleep(Duration::from_millis(gap)).await;
    }
    for body in expected {
        let (status, answered) = talk.answer().await;
        assert_eq!((status, answered.as_str()), (200, *body), "after {moment} ms");
    }
    talk.ask("/last").await;
}

#[tokio::test(start_paused = true)]
async fn whole_requests() {
    for moment in MOMENTS {
        answered(moment, 0, vec![get("/a").into_bytes()], &["/a "]).await;
        answered(moment, 0, vec![post("/a", "body").into_bytes()], &["/a body"]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn pipelined_requests() {
    let all = [get("/a"), post("/b", "body"), get("/sleep/3"), get("/c")].concat().into_bytes();
    for moment in MOMENTS {
        for cut in [0, 10, all.len() / 2, all.len() - 1] {
            let (first, second) = all.split_at(cut);
            let pieces = [first, second].into_iter().filter(|piece| !piece.is_empty());
            let pieces = pieces.map(<[u8]>::to_vec).collect();
            answered(moment, 1, pieces, &["/a ", "/b body", "/sleep/3 ", "/c "]).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn requests_byte_by_byte() {
    let all = [post("/a", "body"), get("/b")].concat();
    let bytes = || all.bytes().map(|byte| vec![byte]).collect();
    for moment in MOMENTS {
        for gap in [0, 1, 70] {
            answered(moment, gap, bytes(), &["/a body", "/b "]).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_stays_incomplete_is_timed_out_with_an_answer() {
    for moment in MOMENTS {
        let mut talk = Talk::new();
        talk.ask("/first").await;
        sleep(Duration::from_millis(moment)).await;
        let since = tokio::time::Instant::now();
        talk.send("GET /a HTTP/1.1\r\nHo").await;
        assert_eq!(talk.answer().await, (408, "head_timeout".to_owned()));
        assert_eq!(since.elapsed().as_secs(), 10, "after {moment} ms");
        assert_eq!(talk.rest().await, "");
    }
}

#[tokio::test(start_paused = true)]
async fn a_bad_head_is_refused_with_an_answer() {
    for moment in MOMENTS {
        let mut talk = Talk::new();
        talk.ask("/first").await;
        sleep(Duration::from_millis(moment)).await;
        talk.send([get("/good"), "GET /# HTTP/1.1\r\n".to_owned(), get("/never")].concat()).await;
        assert_eq!(talk.answer().await, (200, "/good ".to_owned()));
        assert_eq!(talk.answer().await, (400, "target_fragment".to_owned()));
        assert_eq!(talk.rest().await, "");
    }
}
