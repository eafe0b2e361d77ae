//! The side that invites: systems that actors have registered with `preRegisterRemoteSystem`.
//!
//! Each is looked at now and again until it is deregistered: whoever runs at its port and is not of
//! this convention is called at its control socket and asked to come. So one that does not run yet,
//! or runs anew, comes when it is there. It is a matter of nodes that programs of one user have
//! started on one host; to all others is said how they join.
//! What a system is said to offer counts for creations until it says so itself: those that only it
//! would fit wait for it to come.
//! Not here: the one that is called (`invited`).
//! Source: Thespian `preRegisterRemoteSystem`, ConventionInvite.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::control::{
    ClusterRequest, ErrorCode, NodeAnswer, NodeCall, NodeWish, Request, RequestError,
};
use protocol::registry::{MemberState, State};
use protocol::view::Wish;
use protocol::{ActorId, Incarnation, NodeId};
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use super::{invited, listener, neighbours, orders, peers, reachable};
use crate::agent::node::Node;
use crate::agent::requests::refused;
use crate::directory::{runtime_folder, socket_path};

/// The systems that are invited, by their ports on this host.
#[derive(Debug, Default)]
pub(crate) struct Invitations {
    // Held for look-ups and insertions only.
    table: Mutex<BTreeMap<u16, Invitation>>,
    numbers: watch::Sender<u64>,
    /// Moves when a system was looked at.
    looked: watch::Sender<u64>,
}

#[derive(Debug)]
struct Invitation {
    /// Ends the task of an earlier one for the same port.
    number: u64,
    address: String,
    capabilities: String,
    /// It was called, has not said that it does not come, and is to be here soon.
    comes: bool,
    /// It was here when it was looked at last.
    run: Option<Incarnation>,
    /// The run that has come because it was asked to from here.
    fetched: Option<Incarnation>,
    /// It has said that it does not come.
    refuses: bool,
    /// It is to come no longer; what is under way with it comes to its end.
    dismissed: bool,
    /// Held while it is looked at, and called.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Why it does not come, as it was logged.
    trouble: Option<String>,
}

/// What came of looking at a system.
enum Look {
    /// It is of this convention.
    Here(Incarnation),
    /// Nobody runs there.
    Nobody,
    /// It was called and may be on its way.
    Coming(String),
    /// Not yet.
    Later(String),
    /// Not by an invitation.
    Never(RequestError),
}

impl Invitations {
    /// Whether a system at this address is invited from here, and has not refused.
    pub(super) fn names(&self, address: &str) -> bool {
        let port = address
            .rsplit_once(':')
            .and_then(|(_, port)| port.parse().ok());
        let counts = |it: &Invitation| !it.refuses && !it.dismissed;
        let invited = |port: u16| self.table().get(&port).is_some_and(counts);
        port.is_some_and(invited)
    }

    /// What the systems that are on their way are said to offer.
    pub(super) fn coming(&self) -> Vec<String> {
        let table = self.table();
        let coming = table.values().filter(|it| it.comes);
        coming.map(|it| it.capabilities.clone()).collect()
    }

    /// Waits until another system was looked at, but no longer than that.
    pub(super) async fn looked(&self, until: Instant) {
        let mut looked = self.looked.subscribe();
        let _in_time = timeout_at(until, looked.changed()).await;
    }

    pub(super) fn insert(&self, port: u16, address: &str, capabilities: &str) -> Option<u64> {
        let mut table = self.table();
        let known = table.get_mut(&port);
        let turn = known.as_ref().map(|it| Arc::clone(&it.turn));
        if let Some(known) = known.filter(|it| !it.dismissed) {
            capabilities.clone_into(&mut known.capabilities);
            return None;
        }
        let number = *self.numbers.borrow() + 1;
        self.numbers.send_replace(number);
        let invitation = Invitation {
            number,
            address: address.to_owned(),
            capabilities: capabilities.to_owned(),
            comes: false,
            run: None,
            fetched: None,
            refuses: false,
            dismissed: false,
            turn: turn.unwrap_or_default(),
            trouble: None,
        };
        table.insert(port, invitation);
        Some(number)
    }

    /// Ends an invitation, by its port or by the run that came. What is under way with that system
    /// has ended once the turn that is given can be had.
    fn dismiss(
        &self,
        port: Option<u16>,
        run: Option<Incarnation>,
    ) -> Option<(u16, u64, Arc<tokio::sync::Mutex<()>>)> {
        let mut table = self.table();
        let is_meant =
            |at: u16, it: &Invitation| port == Some(at) || run.is_some() && it.run == run;
        let mut invited = table.iter_mut();
        let (port, invited) = invited.find(|(at, it)| is_meant(**at, it))?;
        invited.dismissed = true;
        Some((*port, invited.number, Arc::clone(&invited.turn)))
    }

    /// Forgets an invitation: the run that has come by it, and whether one may still come.
    fn remove(&self, port: u16, number: u64) -> Option<(Option<Incarnation>, bool)> {
        let mut table = self.table();
        let known = table.get(&port).filter(|it| it.number == number)?;
        let known = (known.fetched, known.comes);
        table.remove(&port);
        drop(table);
        self.looked.send_modify(|looked| *looked += 1);
        Some(known)
    }

    /// Changes this invitation, unless there is another for the port by now.
    fn update(&self, port: u16, number: u64, change: impl FnOnce(&mut Invitation)) {
        let mut table = self.table();
        if let Some(invitation) = table.get_mut(&port).filter(|it| it.number == number) {
            change(invitation);
        }
    }

    fn comes(&self, port: u16, number: u64) -> bool {
        let table = self.table();
        table
            .get(&port)
            .is_some_and(|it| it.number == number && it.comes)
    }

    /// The turn at a system that is invited still.
    fn turn(&self, port: u16, number: u64) -> Option<Arc<tokio::sync::Mutex<()>>> {
        let table = self.table();
        let stands = |it: &&Invitation| it.number == number && !it.dismissed;
        let standing = table.get(&port).filter(stands);
        standing.map(|it| Arc::clone(&it.turn))
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<u16, Invitation>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A system is to be of this convention from now on.
///
/// # Errors
/// [`RequestError`]: it cannot be by an invitation; with the next step.
pub(crate) async fn invite(
    node: &Arc<Node>,
    address: &str,
    capabilities: &str,
) -> Result<(), RequestError> {
    // Who comes, and whether who is meant is here already.
    let _not_told = node.replica.want(Wish::Members).await;
    if let Some(run) = run_of(address) {
        let is_here = run == node.incarnation || node.replica.read(|state| is_up(state, run));
        return match is_here {
            true => Ok(()),
            false => Err(refused(
                format!("`{address}` stands for a run of a system that is not of this convention"),
                Some("give the system's `host:port`"),
            )),
        };
    }
    let address = with_port(address);
    let invitations = &node.mutual.invitations;
    let port = match port_of(node, &address).await {
        Ok(port) => port,
        // One of another host, which is a member already.
        Err(_) if reachable::is_of_convention(node, &address).await => return Ok(()),
        Err(error) => return Err(error),
    };
    if port == node.port {
        return Ok(());
    }
    if node.membership.identity().user_secret().is_none() {
        if reachable::is_of_convention(node, &address).await {
            return Ok(());
        }
        return Err(by_token(&address, "this system has a Director directory"));
    }
    let Some(number) = invitations.insert(port, &address, capabilities) else {
        return Ok(());
    };
    let (keeping, tracker) = (Arc::clone(node), node.tasks.clone());
    let (first, mut looked) = watch::channel(None);
    tracker.spawn(async move {
        let shutdown = keeping.shutdown.clone();
        let kept = keep(&keeping, port, number, first);
        shutdown.run_until_cancelled(kept).await;
    });
    // The rest goes on by itself.
    let known = timeout(FIRST_LIMIT, looked.wait_for(Option::is_some)).await;
    match known {
        Ok(Ok(known)) => (*known).clone().unwrap_or(Ok(())),
        _ => Ok(()),
    }
}

/// A system is no longer to be of this convention.
///
/// # Errors
/// [`RequestError`]: it is there for another reason than an invitation; with the next step.
pub(crate) async fn dismiss(node: &Arc<Node>, address: &str) -> Result<(), RequestError> {
    let _not_told = node.replica.want(Wish::Members).await;
    let run = run_of(address);
    let address = with_port(address);
    let port = match run {
        Some(_) => None,
        None => invited::port_here(&address).await,
    };
    let (fetched, comes) = end(node, port, run).await;
    if port == Some(node.port) || run == Some(node.incarnation) {
        return Ok(());
    }
    let Some((member, run, port)) = member_at(node, &address, port, run).await else {
        if let Some(port) = port.filter(|_| comes) {
            let_go_when_here(node, port);
        }
        return Ok(());
    };
    let by_itself = || {
        Err(refused(
            format!("`{address}` is a member of this convention, and members leave by themselves"),
            Some("shut that system down, or use `director cluster remove`"),
        ))
    };
    let Some(port) = port.filter(|_| node.directory.is_private()) else {
        return by_itself();
    };
    let convention = node.membership.identity().convention().unwrap_or_default();
    match call(node, (port, None), Some(run), NodeWish::Go { convention }).await {
        Ok((_, NodeAnswer::Done)) => {}
        Ok((_, NodeAnswer::Refused { reason, hint })) => {
            return Err(refused(format!("`{address}`: {reason}"), Some(&hint)));
        }
        // It does not answer: its convention does without it.
        Ok((_, NodeAnswer::Later { reason })) if fetched == Some(run) => {
            remove(node, member, &reason).await?;
        }
        Err(cause) if fetched == Some(run) => remove(node, member, &cause.to_string()).await?,
        // Whoever came without an invitation from here is not for this node to remove.
        _ => return by_itself(),
    }
    let mut applied = node.replica.applied();
    let gone = async {
        while node.replica.read(|state| is_up(state, run)) && applied.changed().await.is_ok() {}
    };
    let _in_time = timeout(APPLIED_LIMIT, gone).await;
    Ok(())
}

/// Ends the invitation of a system, once what is under way with it has ended: the run that has come
/// by it, and whether one may still come.
async fn end(
    node: &Node,
    port: Option<u16>,
    run: Option<Incarnation>,
) -> (Option<Incarnation>, bool) {
    let invitations = &node.mutual.invitations;
    let Some((port, number, turn)) = invitations.dismiss(port, run) else {
        return (None, false);
    };
    let _turn = timeout(CALL_LIMIT + APPLIED_LIMIT, turn.lock()).await;
    invitations.remove(port, number).unwrap_or_default()
}

/// Lets a system go that was called, has not answered in time and may be on its way, unless it is
/// invited again.
pub(super) fn let_go_when_here(node: &Arc<Node>, port: u16) {
    let (node, tracker) = (Arc::clone(node), node.tasks.clone());
    tracker.spawn(async move {
        let until = Instant::now() + STILL_COMES;
        let letting_go = async {
            let mut applied = node.replica.applied();
            let address = format!("127.0.0.1:{port}");
            loop {
                applied.borrow_and_update();
                if node.mutual.invitations.table().contains_key(&port) {
                    return;
                }
                if let Some((_, run, _)) = member_at(&node, &address, Some(port), None).await {
                    tracing::info!(port, "a system comes that is invited no longer");
                    let convention = node.membership.identity().convention();
                    let go = NodeWish::Go {
                        convention: convention.unwrap_or_default(),
                    };
                    match call(&node, (port, None), Some(run), go).await {
                        Ok((_, NodeAnswer::Done)) => {}
                        other => tracing::warn!(port, ?other, "it stays"),
                    }
                    return;
                }
                if !matches!(timeout_at(until, applied.changed()).await, Ok(Ok(()))) {
                    return;
                }
            }
        };
        node.shutdown.run_until_cancelled(letting_go).await;
    });
}

async fn remove(node: &Arc<Node>, member: NodeId, why: &str) -> Result<(), RequestError> {
    tracing::info!(%member, why, "a system that is to leave does not say that it does");
    let remove = ClusterRequest::Remove {
        node: member.to_string(),
        by: DEREGISTERED.to_owned(),
    };
    let removed = timeout(
        CALL_LIMIT,
        orders::give(node, Request::Cluster(remove), None),
    );
    match removed.await {
        Ok(removed) => removed.map(drop),
        Err(_elapsed) => Err(RequestError {
            code: ErrorCode::TimedOut,
            ..refused("nobody leads the convention now".to_owned(), None)
        }),
    }
}

/// Who removes a system that is to leave and does not say that it does.
pub(super) const DEREGISTERED: &str = "deRegisterRemoteSystem";

/// Looks at a system until it is invited no longer.
async fn keep(
    node: &Arc<Node>,
    port: u16,
    number: u64,
    first: watch::Sender<Option<Result<(), RequestError>>>,
) {
    let invitations = &node.mutual.invitations;
    while let Some(turn) = invitations.turn(port, number) {
        let turn = turn.lock().await;
        // Ended while another had the turn.
        if invitations.turn(port, number).is_none() {
            return;
        }
        let look = look(node, port, number).await;
        let mut never = None;
        let comes = matches!(look, Look::Coming(_));
        let trouble = match look {
            Look::Here(run) => {
                invitations.update(port, number, |it| it.run = Some(run));
                None
            }
            Look::Nobody => None,
            Look::Coming(reason) | Look::Later(reason) => Some(reason),
            Look::Never(error) => {
                let reason = error.message.clone();
                never = Some(error);
                Some(reason)
            }
        };
        invitations.update(port, number, |it| {
            it.comes = comes;
            it.refuses = never.is_some();
            if let Some(reason) = trouble.as_ref().filter(|_| it.trouble != trouble) {
                tracing::warn!(
                    address = it.address,
                    reason,
                    "an invited system does not come"
                );
            }
            it.trouble = trouble;
        });
        invitations.looked.send_modify(|looked| *looked += 1);
        drop(turn);
        if let Some(error) = never {
            // Whoever has asked just now is told, and has to ask again.
            if first.borrow().is_none() {
                let _never_came = invitations.remove(port, number);
            }
            first.send_replace(Some(Err(error)));
        } else {
            first.send_replace(Some(Ok(())));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Looks who runs at a port of this host, and asks it to come unless it is here.
async fn look(node: &Arc<Node>, port: u16, number: u64) -> Look {
    let wish = {
        let identity = node.membership.identity();
        identity.authority_key().map(|authority| NodeWish::Come {
            address: node.membership.address().to_owned(),
            authority: authority.to_string(),
        })
    };
    let Some(wish) = wish.filter(|_| node.mutual.moving.try_read().is_ok()) else {
        return Look::Later("this system has yet to join its own convention".to_owned());
    };
    let called = call(node, (port, Some(number)), None, wish.clone()).await;
    let own = node.membership.identity().authority_key();
    let meant = |authority: &str| own.is_some_and(|own| own.to_string() == authority);
    if !matches!(&wish, NodeWish::Come { authority, .. } if meant(authority)) {
        return Look::Later("this system has gone into another convention meanwhile".to_owned());
    }
    match called {
        Ok((run, NodeAnswer::Done)) => {
            let mut applied = node.replica.applied();
            let come = async {
                while !node.replica.read(|state| is_up(state, run)) {
                    if applied.changed().await.is_err() {
                        return;
                    }
                }
            };
            match timeout(APPLIED_LIMIT, come).await {
                Ok(()) => Look::Here(run),
                Err(_elapsed) => Look::Coming("it is let in, and not here yet".to_owned()),
            }
        }
        Ok((_, NodeAnswer::Later { reason })) => Look::Later(reason),
        Ok((_, NodeAnswer::Refused { reason, hint })) => {
            let at = format!("the system at port {port} does not come: {reason}");
            Look::Never(refused(at, Some(&hint)))
        }
        Err(cause) => match cause.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Look::Nobody,
            io::ErrorKind::Unsupported => {
                let at = format!("port {port} of this host");
                Look::Never(by_token(&at, "that system has a Director directory"))
            }
            // It was called, and did not answer in time.
            _ if node.mutual.invitations.comes(port, number) => Look::Coming(cause.to_string()),
            _ => Look::Later(cause.to_string()),
        },
    }
}

/// Calls whoever runs at a port of this host, this run of it if one is named. One that is of this
/// convention is not asked to come.
async fn call(
    node: &Node,
    (port, invited): (u16, Option<u64>),
    run: Option<Incarnation>,
    wish: NodeWish,
) -> io::Result<(Incarnation, NodeAnswer)> {
    let socket = socket_path(&runtime_folder()?, port);
    let calling = async {
        let (stream, welcome) = neighbours::greet((node.id, node.incarnation), &socket).await?;
        let met = welcome.incarnation;
        if run.is_some_and(|run| run != met) {
            return Err(io::Error::other("another system runs there by now"));
        }
        let comes = matches!(wish, NodeWish::Come { .. });
        if comes && (met == node.incarnation || node.replica.read(|state| is_up(state, met))) {
            return Ok((met, NodeAnswer::Done));
        }
        if let Some(number) = invited {
            let invitations = &node.mutual.invitations;
            invitations.update(port, number, |it| it.comes = comes);
        }
        let proof = invited::proof(node, &wish, met).unwrap_or_default();
        let answer = neighbours::call(stream, &NodeCall { wish, proof }).await?;
        if let Some(number) = invited.filter(|_| answer == NodeAnswer::Done) {
            let invitations = &node.mutual.invitations;
            invitations.update(port, number, |it| it.fetched = Some(met));
        }
        Ok((met, answer))
    };
    timeout(CALL_LIMIT, calling)
        .await
        .unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into()))
}

/// The port of a system that can be invited.
async fn port_of(node: &Node, address: &str) -> Result<u16, RequestError> {
    let remotes = peers::resolve(address).await;
    let Some(first) = remotes.first().copied() else {
        return Err(refused(
            format!("`{address}` leads nowhere"),
            Some("give `host:port` of the system that is to come"),
        ));
    };
    if !remotes.iter().all(|at| reachable::is_here(at.ip())) {
        return Err(by_token(address, "that is not an address of this host"));
    }
    if first.port() != node.port
        && let Some(user) = listener::other_user_at(first)
    {
        let why = format!("that port belongs to user {user} of this host");
        return Err(by_token(address, &why));
    }
    Ok(first.port())
}

/// A member that runs: by its run, or by its address, with its port if it is on this host.
async fn member_at(
    node: &Node,
    address: &str,
    port: Option<u16>,
    run: Option<Incarnation>,
) -> Option<(NodeId, Incarnation, Option<u16>)> {
    let members: Vec<_> = node.replica.read(|state| {
        let members = state.members.iter().filter(|(id, _)| **id != node.id);
        let up = members.filter(|(_, member)| member.state == MemberState::Up);
        up.map(|(id, member)| (*id, member.incarnation, member.address.clone()))
            .collect()
    });
    for (id, of_run, at) in members {
        let here = invited::port_here(&at).await;
        let is_meant = match run {
            Some(run) => of_run == run,
            None => port.is_some() && here == port || at == address,
        };
        if is_meant {
            return Some((id, of_run, here));
        }
    }
    None
}

fn is_up(state: &State, run: Incarnation) -> bool {
    let mut members = state.members.values();
    members.any(|member| member.incarnation == run && member.state == MemberState::Up)
}

/// The run that a system's own address stands for.
fn run_of(address: &str) -> Option<Incarnation> {
    Some(address.parse::<ActorId>().ok()?.incarnation())
}

fn with_port(address: &str) -> String {
    let port = address
        .rsplit_once(':')
        .map(|(_, port)| port.parse::<u16>());
    match port {
        Some(Ok(_)) => address.to_owned(),
        _ => format!("{address}:{}", reachable::ADMIN_PORT),
    }
}

fn by_token(address: &str, why: &str) -> RequestError {
    refused(
        format!("`{address}` is not invited: {why}"),
        Some(
            "only systems that programs of one user start on one host are fetched; all others join \
             by `convleader.cfg` with a token of `director cluster invite`, or by approval",
        ),
    )
}

/// How often an invited system is looked at; a look that finds nobody costs next to nothing.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How long the actor that registers a system waits for what comes of it.
const FIRST_LIMIT: Duration = Duration::from_millis(1_500);

/// How long a system may take to come or go.
const CALL_LIMIT: Duration = Duration::from_secs(15);

/// How long a system that was called and has not answered may take to be here: longer than it
/// tries.
const STILL_COMES: Duration = Duration::from_secs(60);

/// How long this node may take to hear of it.
const APPLIED_LIMIT: Duration = Duration::from_secs(5);
