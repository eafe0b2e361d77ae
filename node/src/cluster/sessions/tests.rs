//! Leases: granted, renewed, behind and lost.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_lease_ends_with_its_margin_and_is_renewed_by_the_same_run_only() {
    let sessions = Sessions::default();
    let (node, run) = (NodeId(2), Incarnation(7));
    assert!(sessions.grant(node, run, Some(&|| 0)));
    tokio::time::advance(LEASE).await;
    assert!(sessions.due(Instant::now()).0.is_empty());
    assert_eq!(sessions.hear(node, run, Report::default()), Heard::Renewed);
    let other = sessions.hear(node, Incarnation(8), Report::default());
    assert_eq!(other, Heard::Over);
    tokio::time::advance(LEASE + MARGIN).await;
    assert_eq!(sessions.due(Instant::now()), (vec![(node, run)], None));
    sessions.forget(node);
    assert_eq!(sessions.due(Instant::now()), (Vec::new(), None));
}

#[tokio::test(start_paused = true)]
async fn the_first_lease_of_a_session_waits_for_the_roles_of_its_beginning() {
    let sessions = Sessions::default();
    let (node, run) = (NodeId(2), Incarnation(7));
    let bound = |bound| Report {
        bound,
        ..Report::default()
    };
    assert!(sessions.grant(node, run, None));
    assert!(!sessions.has_begun(node));
    assert_eq!(sessions.hear(node, run, bound(99)), Heard::Over);
    assert!(sessions.grant(node, run, Some(&|| 12)));
    assert!(sessions.has_begun(node));
    assert_eq!(sessions.hear(node, run, bound(11)), Heard::Behind);
    assert_eq!(sessions.hear(node, run, bound(12)), Heard::Renewed);
    assert!(sessions.grant(node, run, Some(&|| 15)));
    assert_eq!(sessions.hear(node, run, bound(14)), Heard::Behind);
}

#[tokio::test(start_paused = true)]
async fn a_lease_whose_loss_is_being_committed_is_not_renewed() {
    let sessions = Sessions::default();
    let (node, run) = (NodeId(2), Incarnation(7));
    assert!(sessions.grant(node, run, Some(&|| 0)));
    assert!(!sessions.begin_loss(node, run), "it holds");
    tokio::time::advance(LEASE + MARGIN).await;
    assert!(sessions.begin_loss(node, run));
    assert_eq!(sessions.hear(node, run, Report::default()), Heard::Over);
    assert!(!sessions.grant(node, run, Some(&|| 0)));
    assert!(sessions.grant(node, Incarnation(8), Some(&|| 0)));
}

#[tokio::test(start_paused = true)]
async fn those_that_fall_silent_together_are_seen_together_when_the_first_is_due() {
    let sessions = Sessions::default();
    for node in 1..=10 {
        assert!(sessions.grant(NodeId(node), Incarnation(1), Some(&|| 0)));
        tokio::time::advance(HEARTBEAT / 10).await;
    }
    assert_eq!(sessions.silent(Instant::now()), 0);
    // Those from the seventh on go on; the others were heard at moments of their own.
    tokio::time::advance(HEARTBEAT).await;
    for node in 7..=10 {
        let heard = sessions.hear(NodeId(node), Incarnation(1), Report::default());
        assert_eq!(heard, Heard::Renewed);
    }
    tokio::time::advance(LEASE + MARGIN - 2 * HEARTBEAT).await;
    let (due, _) = sessions.due(Instant::now());
    assert_eq!((due.len(), sessions.silent(Instant::now())), (1, 6));
}

#[tokio::test(start_paused = true)]
async fn the_one_that_is_silent_longest_is_lost_first() {
    let sessions = Sessions::default();
    sessions.grant(NodeId(3), Incarnation(1), None);
    tokio::time::advance(Duration::from_secs(1)).await;
    sessions.grant(NodeId(2), Incarnation(1), None);
    let (due, next) = sessions.due(Instant::now());
    assert!(due.is_empty() && next.is_some());
    tokio::time::advance(LEASE + MARGIN).await;
    let (due, _) = sessions.due(Instant::now());
    let nodes: Vec<_> = due.into_iter().map(|(node, _)| node.0).collect();
    assert_eq!(nodes, [3, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_stays_behind_is_lost_however_often_it_begins_anew() {
    let sessions = Sessions::default();
    let (node, run) = (NodeId(2), Incarnation(7));
    let begun = Instant::now();
    let beats = || {
        let grown = sessions.grant(node, run, Some(&|| 12));
        grown && sessions.hear(node, run, Report::default()) == Heard::Behind
    };
    while sessions.due(Instant::now()).0.is_empty() {
        assert!(beats());
        assert!(begun.elapsed() < 2 * BEHIND_LIMIT, "nobody waits for ever");
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert!(begun.elapsed() >= BEHIND_LIMIT + LEASE + MARGIN);
    assert!(sessions.begin_loss(node, run));
}

#[tokio::test(start_paused = true)]
async fn a_member_that_others_wait_for_has_its_lease_renewed_only_once_it_is_there() {
    let sessions = Sessions::default();
    let (node, run) = (NodeId(2), Incarnation(7));
    let bound = |bound| Report {
        bound,
        ..Report::default()
    };
    assert!(sessions.grant(node, run, Some(&|| 12)));
    assert_eq!(sessions.hear(node, run, bound(14)), Heard::Renewed);
    sessions.require(node, 14);
    assert_eq!(sessions.hear(node, run, bound(14)), Heard::Renewed);
    sessions.require(node, 20);
    assert_eq!(sessions.hear(node, run, bound(19)), Heard::Behind);
    tokio::time::advance(BEHIND_LIMIT).await;
    assert_eq!(sessions.hear(node, run, bound(19)), Heard::Behind);
    tokio::time::advance(LEASE).await;
    assert_eq!(sessions.hear(node, run, bound(19)), Heard::Behind);
    tokio::time::advance(MARGIN).await;
    assert_eq!(sessions.due(Instant::now()).0, [(node, run)]);
    // One that gets there in time has its lease again.
    assert_eq!(sessions.hear(node, run, bound(20)), Heard::Renewed);
    assert!(sessions.due(Instant::now()).0.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_lease_outlasts_the_lead_that_granted_it() {
    let sessions = Sessions::default();
    let (member, silent) = (NodeId(2), NodeId(3));
    let begun = Instant::now();
    assert!(sessions.grant(member, Incarnation(7), Some(&|| 0)));
    // Given without a session: it was never told.
    assert!(sessions.grant(silent, Incarnation(7), None));
    tokio::time::advance(Duration::from_secs(1)).await;
    sessions.clear();
    sessions.ungranted(silent).await;
    assert_eq!(begun.elapsed(), Duration::from_secs(1));
    sessions.grant(member, Incarnation(7), None);
    sessions.shorten(member, Instant::now() + FORMER_LEADER_BACK);
    tokio::time::advance(FORMER_LEADER_BACK).await;
    assert!(
        sessions.due(Instant::now()).0.is_empty(),
        "it may have a lease"
    );
    sessions.ungranted(member).await;
    assert!(begun.elapsed() >= LEASE + MARGIN, "{:?}", begun.elapsed());
    assert_eq!(sessions.due(Instant::now()).0, [(member, Incarnation(7))]);
    // In a session nobody can say when its lease ends.
    sessions.forget(member);
    assert!(sessions.grant(member, Incarnation(7), Some(&|| 0)));
    let waited = tokio::time::timeout(Duration::from_secs(60), sessions.ungranted(member));
    assert!(waited.await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_wakes_nobody_that_waits_for_sessions() {
    let sessions = Sessions::default();
    let (node, run) = (NodeId(2), Incarnation(7));
    let (mut begun, mut changed) = (sessions.begun(), sessions.changed());
    assert!(sessions.grant(node, run, Some(&|| 0)));
    assert!(begun.has_changed().unwrap());
    begun.mark_unchanged();
    changed.mark_unchanged();
    let report = Report {
        bound: 5,
        ..Report::default()
    };
    assert_eq!(sessions.hear(node, run, report), Heard::Renewed);
    assert!(changed.has_changed().unwrap() && !begun.has_changed().unwrap());
    assert!(sessions.is_any_behind(6) && !sessions.is_any_behind(5));
    sessions.forget(node);
    assert!(begun.has_changed().unwrap());
    assert!(!sessions.is_any_behind(6), "it has gone");
}
