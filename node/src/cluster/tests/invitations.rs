//! Systems that are fetched into a convention, and let go again, while they run.

use std::time::Duration;

use protocol::control::{NodeAnswer, NodeCall, NodeWish};
use protocol::peer::JoinWishes;
use protocol::registry::{MemberCommand, MemberState, State};
use protocol::wire::{JoinRequest, RefusalCode, Shape};
use protocol::{ActorId, Stamp, encode};
use tokio::time::timeout;

use super::host::{Host, LONG};
use super::joining::free_port;
use crate::agent::node::stamp;
use crate::cluster::{admission, invitations, invited, neighbours, same_user};
use crate::directory::{runtime_folder, socket_path};

const PRIVATE: (&str, &str) = ("private", "made for a test");

async fn private() -> Host {
    Host::start(tempfile::tempdir().unwrap(), &[PRIVATE]).await
}

/// A system of a program at this port.
async fn private_at(port: u16) -> Host {
    let port = port.to_string();
    let settings = [PRIVATE, ("adminport.cfg", port.as_str())];
    Host::start(tempfile::tempdir().unwrap(), &settings).await
}

fn local(host: &Host) -> String {
    format!("127.0.0.1:{}", host.node.port)
}

async fn invite(host: &Host, address: &str) -> Result<(), String> {
    let invited = invitations::invite(&host.node, address, "{}").await;
    invited.map_err(|error| format!("{}; {}", error.message, error.hint.unwrap_or_default()))
}

async fn dismiss(host: &Host, address: &str) -> Result<(), String> {
    let dismissed = invitations::dismiss(&host.node, address).await;
    dismissed.map_err(|error| format!("{}; {}", error.message, error.hint.unwrap_or_default()))
}

fn convention(host: &Host) -> Option<protocol::ConventionId> {
    host.node.membership.identity().convention()
}

fn runs(host: &Host, other: &Host) -> bool {
    let member = host.member_of(other);
    member.is_some_and(|it| it.state == MemberState::Up && it.incarnation == other.node.incarnation)
}

/// Both are of the convention of the first, which leads.
async fn until_together(one: &Host, other: &Host) {
    one.until(|one| runs(one, other)).await;
    other
        .until(|other| other.is_member() && runs(other, one))
        .await;
    assert_eq!(convention(one), convention(other));
    assert!(one.node.membership.leads() && !other.node.membership.leads());
}

/// It is the only member of a convention of its own, and leads it.
async fn until_alone(host: &Host) {
    host.until(|host| {
        let alone = host.node.replica.read(|state| state.members.len() == 1);
        alone && host.is_member() && host.node.membership.leads()
    })
    .await;
}

async fn stop(hosts: impl IntoIterator<Item = Host>) {
    for host in hosts {
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_runs_is_fetched_let_go_and_fetched_again() {
    let (one, other) = (private().await, private().await);
    let own = convention(&other);
    for _time in 0..2 {
        invite(&one, &local(&other)).await.unwrap();
        until_together(&one, &other).await;
        // Once more changes nothing.
        invite(&one, &local(&other)).await.unwrap();
        let known = one.member_of(&other).unwrap();
        assert!(!known.admission.may_vote, "its convention is its inviter's");
        assert!(known.capabilities.contains("Thespian Version"), "its own");
        dismiss(&one, &local(&other)).await.unwrap();
        assert!(one.member_of(&other).is_none());
        until_alone(&other).await;
        assert!(convention(&other) != own && convention(&other) != convention(&one));
    }
    // By the address that its subscribers know it by.
    invite(&one, &local(&other)).await.unwrap();
    until_together(&one, &other).await;
    let admin = ActorId::allot(other.node.incarnation, 1).to_string();
    invite(&one, &admin).await.unwrap();
    dismiss(&one, &admin).await.unwrap();
    until_alone(&other).await;
    // What is not of the convention, or is this very system, is let go already.
    for address in [local(&other), admin, local(&one), "10.101.10:9".to_owned()] {
        dismiss(&one, &address).await.unwrap();
    }
    stop([other, one]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_does_not_run_yet_comes_when_it_is_there() {
    let (one, port) = (private().await, free_port());
    invite(&one, &format!("localhost:{port}")).await.unwrap();
    let late = private_at(port).await;
    until_together(&one, &late).await;
    let id = late.node.id;
    late.stop().await;
    let state = |host: &Host| {
        let state = |state: &State| state.members.get(&id).map(|member| member.state);
        host.node.replica.read(state)
    };
    one.until(|one| state(one) == Some(MemberState::Down)).await;
    // One that is invited no longer stays by itself.
    let port = free_port();
    invite(&one, &format!("localhost:{port}")).await.unwrap();
    dismiss(&one, &format!("127.0.0.1:{port}")).await.unwrap();
    assert!(!one.node.mutual.invitations.names(&format!("x:{port}")));
    stop([one]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_invite_each_other_are_of_the_convention_of_the_one_with_the_smaller_id() {
    let (one, other) = (private().await, private().await);
    let (one, other) = if one.node.id < other.node.id {
        (one, other)
    } else {
        (other, one)
    };
    // As if both had asked before either was heard.
    let names = |host: &Host, port| host.node.mutual.invitations.insert(port, "", "{}");
    names(&one, other.node.port);
    names(&other, one.node.port);
    let wish = come_to(&other);
    let proof = invited::proof(&other.node, &wish, one.node.incarnation).unwrap();
    let call = NodeCall { wish, proof };
    let answer = invited::answer(&one.node, other.node.id, &call).await;
    let NodeAnswer::Later { reason } = answer else {
        panic!("{answer:?}");
    };
    assert!(reason.contains("invites the caller as well"), "{reason}");
    for host in [&one, &other] {
        dismiss(host, &local(&one)).await.unwrap();
        dismiss(host, &local(&other)).await.unwrap();
    }
    let (at_one, at_other) = (local(&one), local(&other));
    let (by_one, by_other) = tokio::join!(invite(&one, &at_other), invite(&other, &at_one));
    by_one.unwrap();
    by_other.unwrap();
    let together = async {
        while convention(&one) != convention(&other) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LONG, together).await.unwrap();
    stop([other, one]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_whose_inviter_is_gone_goes_on_alone_and_comes_to_the_next_one() {
    let (one, other, next) = (private().await, private().await, private().await);
    let address = local(&other);
    invite(&one, &address).await.unwrap();
    until_together(&one, &other).await;
    let told = invite(&next, &address).await.unwrap_err();
    assert!(told.contains("a convention with other systems"), "{told}");
    one.stop().await;
    until_alone(&other).await;
    invite(&next, &address).await.unwrap();
    until_together(&next, &other).await;
    stop([other, next]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_fetched_is_told_how_to_join() {
    let (one, with_directory) = (private().await, Host::found("a").await);
    let told = invite(&one, &local(&with_directory)).await.unwrap_err();
    assert!(
        told.contains("that system has a Director directory"),
        "{told}"
    );
    assert!(told.contains("director cluster invite"), "{told}");
    let told = invite(&with_directory, &local(&one)).await.unwrap_err();
    assert!(
        told.contains("this system has a Director directory"),
        "{told}"
    );
    let told = invite(&one, "192.0.2.1:9").await.unwrap_err();
    assert!(told.contains("not an address of this host"), "{told}");
    let told = invite(&one, ":9").await.unwrap_err();
    assert!(told.contains("leads nowhere"), "{told}");

    // Nor is one that is among others, or that came by itself let go.
    let leader = private().await;
    let address = leader.address();
    let settings = [PRIVATE, ("convleader.cfg", address.as_str())];
    let member = Host::start(tempfile::tempdir().unwrap(), &settings).await;
    member.until(Host::is_member).await;
    for among_others in [&leader, &member] {
        let told = invite(&one, &local(among_others)).await.unwrap_err();
        assert!(told.contains("a convention with other systems"), "{told}");
    }
    let told = dismiss(&leader, &local(&member)).await.unwrap_err();
    assert!(told.contains("by itself, not by an invitation"), "{told}");
    assert!(member.is_member() && runs(&leader, &member));
    stop([member, leader, with_directory, one]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_fetched_by_one_that_does_not_know_the_users_secret() {
    let (one, other) = (private().await, private().await);
    let own = convention(&other);
    let socket = socket_path(&runtime_folder().unwrap(), other.node.port);
    let wish = come_to(&one);
    // For another run, for another wish, none.
    let of_another = invited::proof(&one.node, &wish, one.node.incarnation);
    let go = NodeWish::Go {
        convention: convention(&one).unwrap(),
    };
    let for_another = invited::proof(&one.node, &go, other.node.incarnation);
    for proof in [of_another, for_another, Some(String::new())] {
        let me = (one.node.id, one.node.incarnation);
        let (stream, _welcome) = neighbours::greet(me, &socket).await.unwrap();
        let call = NodeCall {
            wish: wish.clone(),
            proof: proof.unwrap(),
        };
        let answer = neighbours::call(stream, &call).await.unwrap();
        let NodeAnswer::Refused { reason, .. } = answer else {
            panic!("{answer:?}");
        };
        assert!(reason.contains("knows the secret"), "{reason}");
    }
    assert_eq!(convention(&other), own);
    // A convention that does not show that it knows the secret lets nobody in this way.
    let with_directory = Host::found("a").await;
    let wish = come_to(&with_directory);
    let proof = invited::proof(&one.node, &wish, other.node.incarnation).unwrap();
    let call = NodeCall { wish, proof };
    let answer = invited::answer(&other.node, one.node.id, &call).await;
    let NodeAnswer::Refused { reason, .. } = answer else {
        panic!("{answer:?}");
    };
    assert!(
        reason.contains("lets no nodes in for their user alone"),
        "{reason}"
    );
    assert_eq!(convention(&other), own);
    assert!(other.node.membership.leads());
    stop([with_directory, other, one]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_is_let_go_while_it_comes_does_not_stay() {
    let (one, other) = (private().await, private().await);
    let address = local(&other);
    // It is let in, and cannot go on from there.
    let on_its_way = other.node.mutual.log_changes.lock().await;
    let inviting = invite(&one, &address);
    let admitted = one.until(|one| one.member_of(&other).is_some());
    let (invited, ()) = tokio::join!(inviting, admitted);
    invited.unwrap();
    assert!(!runs(&one, &other));
    let dismissed = async {
        one.until(|one| !one.node.mutual.invitations.names(&address))
            .await;
        drop(on_its_way);
    };
    let (let_go, ()) = tokio::join!(dismiss(&one, &address), dismissed);
    let_go.unwrap();
    assert!(!runs(&one, &other));
    until_alone(&other).await;
    assert_ne!(convention(&one), convention(&other));
    stop([other, one]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_comes_after_it_was_let_go_is_let_go_then() {
    let (one, other) = (private().await, private().await);
    invitations::let_go_when_here(&one.node, other.node.port);
    let wish = come_to(&one);
    let proof = invited::proof(&one.node, &wish, other.node.incarnation).unwrap();
    let call = NodeCall { wish, proof };
    let answer = invited::answer(&other.node, one.node.id, &call).await;
    assert_eq!(answer, NodeAnswer::Done);
    until_alone(&other).await;
    one.until(|one| !runs(one, &other)).await;
    stop([other, one]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_lets_a_node_in_is_not_fetched_before_it_is_in() {
    let (one, other) = (private().await, private().await);
    let own = convention(&other);
    let wish = come_to(&one);
    let proof = invited::proof(&one.node, &wish, other.node.incarnation).unwrap();
    let call = NodeCall { wish, proof };
    let letting_in = other.node.mutual.moving.try_read().unwrap();
    let answer = invited::answer(&other.node, one.node.id, &call).await;
    let NodeAnswer::Later { reason } = answer else {
        panic!("{answer:?}");
    };
    assert!(reason.contains("it lets a node in just now"), "{reason}");
    assert_eq!(convention(&other), own);
    drop(letting_in);
    // Nor is anybody let in by one that is on its way.
    let moving = other.node.mutual.moving.try_write().unwrap();
    let refused = admission::admit(&other.node, &asks(&one, &other, stamp()), "here").await;
    assert_eq!(refused.unwrap_err().code, RefusalCode::Busy);
    drop(moving);
    let answer = invited::answer(&other.node, one.node.id, &call).await;
    assert_eq!(answer, NodeAnswer::Done);
    until_together(&one, &other).await;
    stop([other, one]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_joiner_has_shown_once_is_worth_nothing_for_anything_else() {
    let (one, other) = (private().await, private().await);
    let shown = asks(&other, &one, stamp());
    let admit = async |request: &JoinRequest| {
        let admitted = admission::admit(&one.node, request, "here").await;
        admitted.map(drop).map_err(|refusal| refusal.code)
    };
    // By a member that has passed it on: another id, or a place of its own.
    let mut forged = shown.clone();
    forged.document = asks(&one, &one, stamp()).document;
    assert_eq!(admit(&forged).await, Err(RefusalCode::TokenUnknown));
    // With another key.
    let mut forged = shown.clone();
    forged.certificate_request = asks(&one, &one, stamp()).certificate_request;
    assert_eq!(admit(&forged).await, Err(RefusalCode::TokenUnknown));
    // Later.
    let old = asks(&other, &one, Stamp(stamp().0 - 61_000));
    assert_eq!(admit(&old).await, Err(RefusalCode::Busy));
    assert!(one.member_of(&other).is_none());
    // After it has been let go again: what it has shown before does not bring it back.
    assert_eq!(admit(&shown).await, Ok(()));
    one.propose(MemberCommand::Remove {
        node: other.node.id,
        left: true,
        by: "other".to_owned(),
        stamp: Stamp(stamp().0 + 1),
    })
    .await;
    assert_eq!(admit(&shown).await, Err(RefusalCode::Busy));
    assert!(one.member_of(&other).is_none());
    let anew = asks(&other, &one, Stamp(stamp().0 + 2));
    assert_eq!(admit(&anew).await, Ok(()));
    assert!(one.member_of(&other).is_some());
    stop([other, one]).await;
}

/// What a system is asked that is to come to this one.
fn come_to(host: &Host) -> NodeWish {
    let identity = host.node.membership.identity();
    NodeWish::Come {
        address: host.address(),
        authority: identity.authority_key().unwrap().to_string(),
    }
}

/// A request of `joiner` to be let in by the convention of `host`, as of the same user.
fn asks(joiner: &Host, host: &Host, asked: Stamp) -> JoinRequest {
    let membership = &joiner.node.membership;
    let wishes = JoinWishes {
        node: joiner.node.id,
        name: membership.name.clone(),
        address: joiner.address(),
        may_vote: false,
        asked,
    };
    let mut request = JoinRequest {
        token_id: Some(same_user::TOKEN.to_owned()),
        secret: Vec::new(),
        certificate_request: membership.identity().key().request().unwrap(),
        document: encode(JoinWishes::NAME, JoinWishes::VERSION, &wishes).unwrap(),
    };
    let identity = host.node.membership.identity();
    let (secret, authority) = (identity.user_secret(), identity.authority_key());
    let meant = same_user::request_of(&request);
    let shown = same_user::joiners(secret.unwrap(), authority.unwrap(), meant);
    request.secret = shown.to_vec();
    request
}
