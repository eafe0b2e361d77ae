//! Requests, answers, and what a caller learns when there is none.

use std::time::Duration;

use protocol::SourceHash;
use protocol::wire::{Refusal, RefusalCode, TransferRequest, TransferResponse};
use transport::streams::{AskFault, StreamFault};
use transport::{Alpn, Connection};

use crate::world::{Host, SOON, World, connected};

const ASKED: TransferRequest = TransferRequest {
    hash: SourceHash([7; 32]),
    offset_bytes: 21,
};

async fn pair() -> (Host, Host, Connection, Connection) {
    let world = World::new(1);
    let (one, mut two) = (world.host(1), world.host(2));
    let (here, there) = connected(&one, &mut two, Alpn::Convention).await;
    (one, two, here, there)
}

async fn ask(connection: &Connection) -> Result<TransferResponse, AskFault> {
    connection.ask(&ASKED, SOON).await
}

#[tokio::test]
async fn a_request_gets_its_own_answer_whatever_the_order() {
    let (_one, _two, here, there) = pair().await;
    let serve = async {
        let mut streams = Vec::new();
        for _ in 0..8 {
            streams.push(there.accept().await.unwrap());
        }
        for mut stream in streams.into_iter().rev() {
            let request: TransferRequest = stream.request().await.unwrap();
            let length_bytes = request.offset_bytes * 2;
            let answer = Ok(TransferResponse { length_bytes });
            stream.answer(answer).await.unwrap();
        }
    };
    let asked = async {
        let mut asking = tokio::task::JoinSet::new();
        for offset_bytes in 0..8 {
            let here = here.clone();
            let request = TransferRequest {
                offset_bytes,
                ..ASKED
            };
            asking.spawn(async move {
                let response: TransferResponse = here.ask(&request, SOON).await.unwrap();
                assert_eq!(response.length_bytes, 2 * offset_bytes);
            });
        }
        asking.join_all().await.len()
    };
    let ((), answered) = tokio::join!(serve, asked);
    assert_eq!(answered, 8);
}

#[tokio::test]
async fn a_refusal_comes_back_as_data() {
    let (_one, _two, here, there) = pair().await;
    let refusal = Refusal::new(RefusalCode::NotLeader, "ask node `3`");
    let serve = async {
        let mut stream = there.accept().await.unwrap();
        let _request: TransferRequest = stream.request().await.unwrap();
        let answer = Err::<TransferResponse, _>(refusal.clone());
        stream.answer(answer).await.unwrap();
    };
    let (asked, ()) = tokio::join!(ask(&here), serve);
    assert!(matches!(asked, Err(AskFault::Refused(said)) if said == refusal));
}

#[tokio::test]
async fn an_answer_that_does_not_come_leaves_the_outcome_unknown() {
    let (_one, _two, here, there) = pair().await;
    let fault = here.ask::<_, TransferResponse>(&ASKED, Duration::from_millis(50));
    assert!(matches!(fault.await, Err(AskFault::TooSlow { .. })));

    let drop_it = async {
        for _ in 0..2 {
            drop(there.accept().await.unwrap());
        }
    };
    let (asked, ()) = tokio::join!(ask(&here), drop_it);
    assert!(matches!(asked, Err(AskFault::Unknown(_))), "{asked:?}");

    let stopping = Refusal::new(RefusalCode::Stopping, "stopping");
    there.close(&stopping);
    here.closed().await;
    assert!(matches!(ask(&here).await, Err(AskFault::Unavailable(_))));
}

#[tokio::test]
async fn frames_too_long_cut_or_of_another_shape_are_told_apart() {
    let (_one, _two, here, there) = pair().await;
    let mut out = here.open_one_way().await.unwrap();
    out.send_frame(&[1; 100]).await.unwrap();
    out.send_frame(&[]).await.unwrap();
    out.send_frame(&[2; 100]).await.unwrap();
    let mut inward = there.accept_one_way().await.unwrap();
    assert_eq!(inward.receive_frame(100).await.unwrap().unwrap().len(), 100);
    assert_eq!(inward.receive_frame(100).await.unwrap().unwrap().len(), 0);
    let fault = inward.receive_frame(99).await.unwrap_err();
    assert_eq!(fault.to_string(), "a frame of 100 bytes; 99 are allowed");

    let mut out = here.open_one_way().await.unwrap();
    out.send_frame(b"no document").await.unwrap();
    out.finish();
    let mut inward = there.accept_one_way().await.unwrap();
    let fault = inward.receive::<TransferRequest>().await.unwrap_err();
    assert!(matches!(fault, StreamFault::Codec(_)), "{fault}");
    assert!(inward.receive::<TransferRequest>().await.unwrap().is_none());

    let mut out = here.open_one_way().await.unwrap();
    out.send_frame(b"half").await.unwrap();
    out.give_up(RefusalCode::Busy);
    let mut inward = there.accept_one_way().await.unwrap();
    let fault = loop {
        match inward.receive_frame(100).await {
            Ok(frame) => assert!(frame.is_some(), "an aborted stream looked finished"),
            Err(fault) => break fault,
        }
    };
    assert!(matches!(fault, StreamFault::GivenUp(RefusalCode::Busy)));
}

#[tokio::test]
async fn a_document_of_sixteen_megabytes_passes_and_one_more_byte_does_not() {
    let (_one, _two, here, there) = pair().await;
    let most = protocol::limits::WIRE_DOCUMENT_BYTES_MAX;
    let mut out = here.open_one_way().await.unwrap();
    let sent = async {
        out.send_frame(&vec![7; most]).await.unwrap();
        out.send_frame(&vec![7; most + 1]).await.unwrap_err()
    };
    let came = async {
        let mut inward = there.accept_one_way().await.unwrap();
        inward.receive_frame(most).await.unwrap().unwrap().len()
    };
    let (fault, came) = tokio::join!(sent, came);
    assert_eq!(came, most);
    assert!(matches!(fault, StreamFault::TooLong { .. }), "{fault}");
}
