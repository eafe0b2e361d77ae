//! The client of the control socket against a node that is a script.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests are test code"
)]

use std::io::Cursor;
use std::path::PathBuf;
use std::time::Duration;

use node::client::{AskEnd, Client, ClientError, ConnectError, Reply, ReplyContent, Target};
use protocol::control::{
    AskOutcome, ErrorCode, Hello, Notice, Request, RequestError, Response, SystemMessage, Welcome,
};
use protocol::limits::{
    CREDIT_MESSAGES, PROTOCOL_VERSION, PROTOCOL_VERSION_OLDEST, UPLOAD_CHUNK_BYTES, WINDOW_BYTES,
};
use protocol::{
    ActorId, CreditPayload, Flags, Frame, FrameKind, FrameReader, Header, Incarnation, NodeId,
    PayloadKind, TargetKind, TraceId, WindowPayload,
};
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

const PATIENCE: Option<Duration> = Some(Duration::from_secs(20));
const ACTOR: ActorId = ActorId([7; 16]);
const TARGET: Target = Target::Actor(ACTOR);

/// The node's end of one connection.
struct Fake {
    stream: UnixStream,
    reader: FrameReader,
}

/// A socket whose only client meets what `script` does.
fn node<F>(script: impl FnOnce(Fake) -> F) -> (PathBuf, tempfile::TempDir, impl Future<Output = ()>)
where
    F: Future<Output = ()>,
{
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let serving = async move {
        let (stream, _) = listener.accept().await.unwrap();
        let reader = FrameReader::default();
        script(Fake { stream, reader }).await;
    };
    (path, folder, serving)
}

/// Runs a client against a script that begins after the welcome.
async fn welcomed<F, G>(script: impl FnOnce(Fake) -> F, client: impl FnOnce(Client) -> G)
where
    F: Future<Output = ()>,
    G: Future<Output = ()>,
{
    let (path, _folder, serving) = node(async |mut fake: Fake| {
        fake.welcome(1).await;
        script(fake).await;
    });
    let using = async {
        client(Client::connect(&path).await.unwrap()).await;
    };
    tokio::join!(serving, using);
}

impl Fake {
    async fn next(&mut self) -> Frame {
        self.next_or_end().await.expect("the client has gone")
    }

    async fn next_or_end(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.reader.next_frame().unwrap() {
                return Some(frame);
            }
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes).await.unwrap() {
                0 => return None,
                n_bytes => self.reader.extend(&bytes[..n_bytes]),
            }
        }
    }

    async fn put(&mut self, frame: &Frame) {
        let mut bytes = Vec::new();
        frame.write_to(&mut bytes);
        // A client that has what it wants may be gone.
        let _gone = self.stream.write_all(&bytes).await;
    }

    async fn document(&mut self, kind: FrameKind, sequence: u64, document: &impl Serialize) {
        let json = serde_json::to_vec(document).unwrap();
        self.put(&Frame::new(Header::control(kind, sequence), json))
            .await;
    }

    async fn welcome(&mut self, protocol: u8) {
        let frame = self.next().await;
        let hello: Hello = serde_json::from_slice(&frame.payload).unwrap();
        assert_eq!(frame.header.kind, FrameKind::Hello);
        assert_eq!(hello.common_version(), Some(PROTOCOL_VERSION));
        let welcome = Welcome {
            protocol,
            address: ActorId([9; 16]),
            incarnation: Incarnation(5),
            node: NodeId(1),
            node_name: "fake".to_owned(),
            capabilities: "{}".to_owned(),
            version: "0".to_owned(),
        };
        self.document(FrameKind::Welcome, 0, &welcome).await;
    }

    /// Answers a message with a literal under this trace.
    async fn reply(&mut self, trace: TraceId, text: &str) {
        self.put(&message(trace, PayloadKind::Literal, text.as_bytes()))
            .await;
    }

    /// Reads until the client has gone.
    async fn rest(mut self) -> Vec<Frame> {
        let mut seen = Vec::new();
        while let Some(frame) = self.next_or_end().await {
            seen.push(frame);
        }
        seen
    }
}

fn message(trace: TraceId, kind: PayloadKind, payload: &[u8]) -> Frame {
    let mut header = Header::control(FrameKind::Message, 1);
    header.payload_kind = kind;
    header.target_kind = TargetKind::Actor;
    header.target = [9; 16];
    header.sender = ACTOR;
    header.trace = trace;
    Frame::new(header, payload.to_vec())
}

fn refused(message: &str) -> Response {
    Response::Failed(RequestError {
        code: ErrorCode::Refused,
        message: message.to_owned(),
        hint: Some("do otherwise".to_owned()),
        traceback: None,
        failure: None,
    })
}

#[tokio::test]
async fn an_ask_carries_the_literal_and_ends_with_the_reply() {
    let script = async |mut fake: Fake| {
        let asked = fake.next().await;
        assert_eq!(asked.payload, b"{'a': 1}");
        assert_eq!(asked.header.payload_kind, PayloadKind::Literal);
        assert!(asked.header.flags.contains(Flags::ASK));
        assert_eq!((asked.header.target, asked.header.sequence), (ACTOR.0, 1));
        assert_eq!(
            (asked.header.sender, asked.header.deadline_ms),
            (ActorId([9; 16]), 20_000)
        );
        fake.reply(asked.header.trace, "(2,)").await;
    };
    welcomed(script, async |mut client: Client| {
        let reply = client.ask(TARGET, "{'a': 1}", PATIENCE).await.unwrap();
        assert_eq!(reply.content(), ReplyContent::Literal("(2,)".to_owned()));
        assert_eq!(reply.sender, ACTOR);
    })
    .await;
}

#[tokio::test]
async fn a_late_reply_is_not_taken_for_the_next_answer() {
    let script = async |mut fake: Fake| {
        let first = fake.next().await;
        let second = fake.next().await;
        fake.reply(first.header.trace, "'late'").await;
        fake.reply(second.header.trace, "'right'").await;
    };
    welcomed(script, async |mut client: Client| {
        let soon = Some(Duration::from_millis(1));
        assert!(matches!(
            client.ask(TARGET, "1", soon).await,
            Err(AskEnd::TimedOut(_))
        ));
        let reply = client.ask(TARGET, "2", PATIENCE).await.unwrap();
        assert_eq!(reply.content(), ReplyContent::Literal("'right'".to_owned()));
    })
    .await;
}

#[tokio::test]
async fn an_ask_ends_as_the_node_says() {
    let script = async |mut fake: Fake| {
        for outcome in [AskOutcome::DeadLettered, AskOutcome::Unknown] {
            let asked = fake.next().await;
            for sequence in [asked.header.sequence + 7, asked.header.sequence] {
                let (target, reason) = (ACTOR.to_string(), format!("because {sequence}"));
                let notice = Notice::AskEnded {
                    sequence,
                    target,
                    outcome,
                    reason,
                };
                fake.document(FrameKind::Notice, 0, &notice).await;
            }
        }
        fake.next().await;
    };
    welcomed(script, async |mut client: Client| {
        let end = client.ask(TARGET, "1", PATIENCE).await;
        assert!(matches!(end, Err(AskEnd::DeadLettered(why)) if why == "because 1"));
        let end = client.ask(TARGET, "1", PATIENCE).await;
        assert!(matches!(end, Err(AskEnd::Unknown(why)) if why == "because 2"));
        let end = client.ask(TARGET, "1", PATIENCE).await;
        assert!(matches!(end, Err(AskEnd::Closed(ClientError::Closed))));
    })
    .await;
}

#[tokio::test]
async fn a_sender_without_credit_waits_until_it_is_given_back() {
    let script = async |mut fake: Fake| {
        for _ in 0..CREDIT_MESSAGES {
            fake.next().await;
        }
        let credit = CreditPayload {
            target_kind: TargetKind::Actor as u8,
            target: ACTOR.0,
            messages: 1,
            bytes: 113,
        };
        let mut header = Header::control(FrameKind::Credit, 0);
        header.payload_kind = PayloadKind::Raw;
        fake.put(&Frame::new(header, credit.to_bytes())).await;
        assert_eq!(fake.rest().await.len(), 1);
    };
    welcomed(script, async |mut client: Client| {
        for _ in 0..=CREDIT_MESSAGES {
            client.tell(TARGET, "1").await.unwrap();
        }
        let soon = tokio::time::timeout(Duration::from_millis(50), client.tell(TARGET, "1"));
        assert!(soon.await.is_err(), "sent without credit");
    })
    .await;
}

#[tokio::test]
async fn what_was_taken_is_reported_by_half_windows() {
    let big = vec![b' '; WINDOW_BYTES as usize / 2];
    let frame_bytes = message(TraceId::default(), PayloadKind::Literal, &big).bytes() as u64;
    let script = async |mut fake: Fake| {
        let asked = fake.next().await;
        fake.put(&message(asked.header.trace, PayloadKind::Literal, &big))
            .await;
        let frames = fake.rest().await;
        let window = frames
            .iter()
            .find(|frame| frame.header.kind == FrameKind::Window)
            .unwrap();
        let window = WindowPayload::from_bytes(&window.payload).unwrap();
        assert_eq!(window.bytes, frame_bytes);
    };
    welcomed(script, async |mut client: Client| {
        client.ask(TARGET, "1", PATIENCE).await.unwrap();
        client.tell(TARGET, "1").await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_package_goes_in_pieces_in_front_of_its_request() {
    let package: Vec<u8> = (0..UPLOAD_CHUNK_BYTES * 2 + 5).map(|n| n as u8).collect();
    let script = async |mut fake: Fake| {
        let mut got = Vec::new();
        loop {
            let frame = fake.next().await;
            assert_eq!(frame.header.sequence, 1);
            if frame.header.kind == FrameKind::Request {
                break;
            }
            assert_eq!(frame.header.kind, FrameKind::Upload);
            assert!(frame.payload.len() <= UPLOAD_CHUNK_BYTES);
            got.extend(frame.payload);
        }
        assert_eq!(got, package);
        let done = Response::Done {
            text: "kept".to_owned(),
        };
        fake.document(FrameKind::Response, 1, &done).await;
    };
    welcomed(script, async |mut client: Client| {
        let mut n_sent = 0;
        let sent = |n_bytes| n_sent += n_bytes;
        let answer = client
            .upload(Cursor::new(&package), Request::Status, sent)
            .await
            .unwrap();
        assert_eq!(
            answer,
            Response::Done {
                text: "kept".to_owned()
            }
        );
        assert_eq!(n_sent, package.len() as u64);
    })
    .await;
}

#[tokio::test]
async fn an_upload_that_is_refused_early_stops() {
    let script = async |mut fake: Fake| {
        fake.next().await;
        fake.document(FrameKind::Response, 1, &refused("too large"))
            .await;
        // Only what was on its way comes, never the request.
        assert!(
            fake.rest()
                .await
                .iter()
                .all(|frame| frame.header.kind == FrameKind::Upload)
        );
    };
    welcomed(script, async |mut client: Client| {
        let endless = tokio::io::repeat(1);
        let end = client.upload(endless, Request::Status, |_bytes| ()).await;
        assert!(matches!(end, Err(ClientError::Refused(error)) if error.message == "too large"));
    })
    .await;
}

#[tokio::test]
async fn a_dropped_request_does_not_spoil_the_next() {
    let script = async |mut fake: Fake| {
        // Both before the first is answered: the client has given up on it by then.
        let asked = [fake.next().await, fake.next().await];
        for sequence in asked.map(|frame| frame.header.sequence) {
            let text = sequence.to_string();
            fake.document(FrameKind::Response, sequence, &Response::Done { text })
                .await;
        }
    };
    welcomed(script, async |mut client: Client| {
        let dropped =
            tokio::time::timeout(Duration::from_millis(1), client.request(Request::Status));
        assert!(dropped.await.is_err());
        let answer = client.request(Request::Status).await.unwrap();
        assert_eq!(
            answer,
            Response::Done {
                text: "2".to_owned()
            }
        );
    })
    .await;
}

#[tokio::test]
async fn a_node_of_another_protocol_is_named() {
    for spoken in [PROTOCOL_VERSION + 1, PROTOCOL_VERSION_OLDEST - 1] {
        let (path, _folder, serving) = node(async |mut fake: Fake| fake.welcome(spoken).await);
        let (_, end) = tokio::join!(serving, Client::connect(&path));
        let named = matches!(end, Err(ConnectError::Version { node, .. }) if node == spoken);
        assert!(named, "{spoken}");
    }
}

#[tokio::test]
async fn a_node_of_the_version_before_is_spoken_to() {
    let before = PROTOCOL_VERSION_OLDEST;
    let (path, _folder, serving) = node(async |mut fake: Fake| fake.welcome(before).await);
    let (_, end) = tokio::join!(serving, Client::connect(&path));
    assert_eq!(end.unwrap().welcome().protocol, before);
}

#[tokio::test]
async fn a_refused_connection_tells_why() {
    let (path, _folder, serving) = node(async |mut fake: Fake| {
        fake.next().await;
        fake.document(
            FrameKind::Response,
            0,
            &refused("user `7` may not use this node"),
        )
        .await;
    });
    let (_, end) = tokio::join!(serving, Client::connect(&path));
    let error = end.unwrap_err();
    assert_eq!(error.to_string(), "user `7` may not use this node");
    assert!(matches!(
        error,
        ConnectError::Session(ClientError::Refused(_))
    ));
}

#[tokio::test]
async fn a_socket_without_a_node_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none.sock");
    let error = Client::connect(&path).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("no node answers at `{}`", path.display())
    );
}

#[tokio::test]
async fn bytes_that_are_no_frame_end_the_session() {
    let script = async |mut fake: Fake| {
        fake.next().await;
        fake.stream.write_all(&[0xff; 200]).await.unwrap();
    };
    welcomed(script, async |mut client: Client| {
        let end = client.request(Request::Status).await;
        assert!(matches!(end, Err(ClientError::Header(_))));
    })
    .await;
}

#[test]
fn replies_are_read_as_far_as_that_goes_without_python() {
    let content = |kind, flags, payload: &[u8]| {
        let mut frame = message(TraceId::default(), kind, payload);
        frame.header.flags = flags;
        Reply::from(frame).content()
    };
    let plain = Flags::default();
    let shown = content(PayloadKind::Literal, Flags::NO_LITERAL, b"\"<object 'x'>\"");
    assert_eq!(shown, ReplyContent::Repr("<object 'x'>".to_owned()));
    let pickle = content(PayloadKind::Pickle, plain, b"\x80\x05N.");
    assert_eq!(pickle, ReplyContent::Opaque(PayloadKind::Pickle));

    let details = "Traceback: no".to_owned();
    let json = serde_json::to_vec(&SystemMessage::PoisonMessage { details }).unwrap();
    let inner = message(TraceId::default(), PayloadKind::Literal, b"1");
    let poison = inner.wrapped(Header::control(FrameKind::Message, 1), &json);
    let poison = content(PayloadKind::Envelope, plain, &poison.payload);
    assert_eq!(poison, ReplyContent::Poison("Traceback: no".to_owned()));
    let cut = content(PayloadKind::Envelope, plain, &[9, 0, 0, 0, b'{']);
    assert_eq!(cut, ReplyContent::Opaque(PayloadKind::Envelope));
}
