//! Who waits for an actor to stand, and what it learns.

use super::*;

fn announced(actors: &Actors) -> ActorId {
    let birth = Birth {
        actor: ActorId::allot(protocol::Incarnation(1), 7),
        parent: ActorId::NONE,
        origin: Origin::Source(SourceHash::default()),
        class: "app.Main".to_owned(),
        global_name: None,
        requirements: None,
        slot: None,
    };
    assert!(actors.insert(&birth));
    birth.actor
}

fn does_not_fit() -> ActorFailure {
    ActorFailure {
        code: FailureCode::NoCompatibleSystem,
        message: "it does not fit".to_owned(),
        traceback: None,
    }
}

#[tokio::test]
async fn an_actor_that_failed_and_is_gone_before_anybody_looks_has_said_why() {
    let actors = Actors::default();
    let actor = announced(&actors);
    let stands = actors.stands(actor);
    actors.start_failed(actor, does_not_fit());
    drop(actors.remove(actor));
    assert_eq!(stands.await, Err(does_not_fit()));
}

#[tokio::test]
async fn an_actor_that_stood_and_is_gone_before_anybody_looks_has_stood() {
    let actors = Actors::default();
    let actor = announced(&actors);
    let stands = actors.stands(actor);
    actors.started(actor);
    let gone = actors.remove(actor).unwrap();
    gone.stage.send_replace(Stage::Ended);
    drop(gone);
    assert_eq!(stands.await, Ok(()));
}

#[tokio::test]
async fn an_actor_whose_process_ends_without_a_word_did_not_stand() {
    let actors = Actors::default();
    let actor = announced(&actors);
    let stands = actors.stands(actor);
    drop(actors.remove(actor));
    let failure = stands.await.unwrap_err();
    assert_eq!(failure.code, FailureCode::ProcessDied);
}
