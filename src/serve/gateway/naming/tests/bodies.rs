//! Bodies on their way: limits, order, memory and disk.

use std::time::Duration;

use super::*;

/// Bytes that repeat nowhere near.
fn noise(length: usize) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(3);
    std::iter::repeat_with(|| rng.u8(..)).take(length).collect()
}

async fn opened(body: Arriving, most: Option<u64>, spool: &Spool) -> ForwardBody {
    let settings = Serve { max_body: most, ..Serve::default() };
    as_it_is(&parts("POST", "/", &[]), body, &settings, spool).unwrap().body
}

#[tokio::test]
async fn sends_a_body_again_from_memory_and_from_disk() {
    let bytes = noise(3 << 20);
    let dir = tempfile::tempdir().unwrap();
    for memory in [0, 1 << 20, 100 << 20] {
        for cut in [1_000, 70_000, 500_000] {
            let spool = Spool::new(memory, dir.path().to_owned());
            let body = opened(Arriving::cut(&bytes, cut), None, &spool).await;
            let mut broken = body.attempt();
            let mut first = Vec::new();
            while first.len() < 1 << 20 {
                first.extend_from_slice(&broken.next().await.unwrap().unwrap());
            }
            drop(broken);
            assert!(bytes.starts_with(&first));
            for _ in 0..2 {
                assert!(sent(&body).await == bytes, "{memory} {cut}");
            }
            assert!(body.is_replayable() && spool.used() <= memory, "{}", spool.used());
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "a file has a name");
            drop(body);
            assert_eq!(spool.used(), 0);
        }
    }
}

#[tokio::test]
async fn an_attempt_that_is_dropped_while_it_writes_loses_nothing() {
    let bytes = noise(1 << 20);
    let body = opened(Arriving::cut(&bytes, 10_000), None, &Spool::new(0, std::env::temp_dir())).await;
    for polls in 0..400 {
        let mut attempt = body.attempt();
        let mut next = Box::pin(async { while attempt.next().await.is_some() {} });
        for _ in 0..polls {
            // On a busy machine, the disk is done before the next poll.
            if std::future::poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx).is_ready())).await {
                break;
            }
        }
    }
    assert!(sent(&body).await == bytes);
}

#[tokio::test]
async fn twenty_large_bodies_stay_within_the_memory_of_the_spool() {
    let spool = Spool::new(1 << 20, std::env::temp_dir());
    let text = format!(r#"{{"prompt":"{}","model":"m"}}"#, "x".repeat(1 << 20));
    let mut bodies = Vec::new();
    for _ in 0..20 {
        let body = Arriving::cut(text.as_bytes(), 9_000);
        let named = name(&parts("POST", "/", &[]), body, &Serve::default(), &spool).await.unwrap();
        assert_eq!(named.model.as_deref(), Some("m"));
        bodies.push(named.body);
        assert!(spool.used() <= 1 << 20, "{}", spool.used());
    }
    for body in bodies {
        assert!(sent(&body).await == text.as_bytes());
    }
}

#[tokio::test]
async fn tiny_chunks_take_no_more_memory_than_their_bytes() {
    let bytes = noise(300_000);
    let spool = Spool::default();
    let body = opened(Arriving::cut(&bytes, 1), None, &spool).await;
    let (sent, peak) = {
        let runtime = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            crate::hostile::peak_of(|| {
                runtime.block_on(async {
                    let mut attempt = body.attempt();
                    let mut sent = 0;
                    while let Some(chunk) = attempt.next().await {
                        sent += chunk.unwrap().len();
                    }
                    (sent, body)
                })
            })
        });
        let ((sent, _body), peak) = runtime.join().unwrap();
        (sent, peak)
    };
    assert_eq!(sent, 300_000);
    assert!(peak < 600_000, "{peak}");
}

#[tokio::test]
async fn forwards_while_the_body_arrives_once_the_model_is_known() {
    let head = br#"{"model":"m","prompt":""#.to_vec();
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    sender.send(head.clone()).await.unwrap();
    let naming = parts("POST", "/", &[("content-length", "1000000")]);
    let named = name(&naming, Channel(receiver), &Serve::default(), &Spool::default()).await.unwrap();
    assert_eq!((named.model.as_deref(), named.length), (Some("m"), Some(1_000_000)));
    let mut attempt = named.body.attempt();
    assert_eq!(attempt.next().await.unwrap().unwrap(), head);
    let waits = tokio::time::timeout(Duration::from_millis(20), attempt.next()).await;
    assert!(waits.is_err());
    sender.send(b"more".to_vec()).await.unwrap();
    assert_eq!(attempt.next().await.unwrap().unwrap(), "more");
    // The answer has begun: what follows is not kept.
    let Named { body, .. } = named;
    drop(body);
    sender.send(b"last".to_vec()).await.unwrap();
    drop(sender);
    assert_eq!(attempt.next().await.unwrap().unwrap(), "last");
    assert!(attempt.next().await.is_none());
}

/// A body that arrives when a test sends it.
struct Channel(tokio::sync::mpsc::Receiver<Vec<u8>>);

impl HttpBody for Channel {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk.into()))))
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_at_once_or_where_it_passes_it() {
    let settings = Serve { max_body: Some(1_000), ..Serve::default() };
    let stated = parts("POST", "/", &[("content-length", "1001")]);
    let refused = name(&stated, Arriving::new([""; 0]), &settings, &Spool::default()).await;
    assert!(matches!(refused, Err(NamingError::TooLarge(1_000))));
    let chunked = parts("POST", "/", &[]);
    let before = format!(r#"{{"a":"{}","model":"m"}}"#, "x".repeat(1_000));
    let refused = name(&chunked, Arriving::cut(before.as_bytes(), 100), &settings, &Spool::default()).await;
    assert!(matches!(refused, Err(NamingError::TooLarge(1_000))));
    let behind = format!(r#"{{"model":"m","a":"{}"}}"#, "x".repeat(1_000));
    let named = name(&chunked, Arriving::cut(behind.as_bytes(), 100), &settings, &Spool::default()).await.unwrap();
    let mut attempt = named.body.attempt();
    let error = loop {
        match attempt.next().await.unwrap() {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.status().as_u16(), 413);
    assert!(attempt.next().await.is_none() && !named.body.is_replayable());
    assert_eq!(named.body.failure().unwrap().status().as_u16(), 413);
    let any = Serve { max_body: None, ..Serve::default() };
    let named = name(&chunked, Arriving::cut(behind.as_bytes(), 100), &any, &Spool::default()).await.unwrap();
    assert!(sent(&named.body).await == behind.as_bytes());
}

#[tokio::test]
async fn bodies_that_wait_take_no_more_disk_than_they_may() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::limited(0, 300_000, dir.path().join("spool"));
    let (first, second) = (noise(250_000), noise(250_000));
    let kept = opened(Arriving::cut(&first, 10_000), None, &spool).await;
    assert!(sent(&kept).await == first && kept.is_replayable());
    assert!((150_000..=300_000).contains(&spool.used_on_disk()), "{}", spool.used_on_disk());
    // Once its model is known a body goes on, but only once.
    let passing = opened(Arriving::cut(&second, 10_000), None, &spool).await;
    assert!(sent(&passing).await == second && !passing.is_replayable());
    let text = format!(r#"{{"a":"{}","model":"m"}}"#, "x".repeat(250_000));
    let body = || Arriving::cut(text.as_bytes(), 10_000);
    let settings = Serve { max_body: None, ..Serve::default() };
    let error = name(&parts("POST", "/", &[]), body(), &settings, &spool).await.unwrap_err();
    assert_eq!(error.status().as_u16(), 503);
    assert!(spool.used_on_disk() <= 300_000);
    drop((kept, passing));
    assert_eq!(spool.used_on_disk(), 0);
    assert!(name(&parts("POST", "/", &[]), body(), &settings, &spool).await.is_ok());
    // The largest body that is accepted finds room.
    let larger = noise(400_000);
    let kept = opened(Arriving::cut(&larger, 10_000), Some(400_000), &spool).await;
    assert!(sent(&kept).await == larger && kept.is_replayable());
    assert_eq!(std::fs::read_dir(dir.path().join("spool")).unwrap().count(), 0, "a file has a name");
}

#[tokio::test]
async fn says_where_there_is_no_room() {
    let spool = Spool::new(0, "/nonexistent/spool".into());
    let text = format!(r#"{{"a":"{}","model":"m"}}"#, "x".repeat(100_000));
    let body = Arriving::cut(text.as_bytes(), 10_000);
    let error = name(&parts("POST", "/", &[]), body, &Serve::default(), &spool).await.unwrap_err();
    assert_eq!(error.status().as_u16(), 503);
    assert!(error.to_string().contains("/nonexistent/spool"), "{error}");
    // Once the model is known, the body goes on, but only once.
    let text = format!(r#"{{"model":"m","a":"{}"}}"#, "x".repeat(100_000));
    let body = Arriving::cut(text.as_bytes(), 10_000);
    let named = name(&parts("POST", "/", &[]), body, &Serve::default(), &spool).await.unwrap();
    assert!(sent(&named.body).await == text.as_bytes() && !named.body.is_replayable());
    assert!(named.body.attempt().next().await.unwrap().is_ok(), "what was kept");
}
