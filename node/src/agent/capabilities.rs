//! What a node offers to actors, and what happens when that changes.
//!
//! Given at the start by the node itself and `othercaps.cfg`, changed later by `updateCapability`
//! of programs and actors. A change is seen by every creation after it; running actors make their
//! check again, and those that no longer fit exit.
//! Not here: where actors are placed (`convention`), the check itself (Python).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use leader::reconcile::Replica;
use protocol::control::SystemMessage;
use protocol::registry::{Command, Member, MemberCommand};
use pyliteral::Value;
use tokio::sync::watch;

use super::node::{Node, stamp};
use crate::hosting::Interpreter;

/// The capabilities of a node.
#[derive(Debug)]
pub(super) struct Capabilities {
    // Held for a look-up or a change only.
    entries: Mutex<Vec<(Value, Value)>>,
    changes: watch::Sender<u64>,
}

impl Capabilities {
    /// Those of the node itself, and those of `othercaps.cfg`, which come before.
    pub(super) fn new(port: u16, start_ms: u64, others: &Value) -> Self {
        let mut entries = own(port, start_ms);
        for (name, value) in others.as_dict().unwrap_or_default() {
            set(&mut entries, name, Some(value));
        }
        Self {
            entries: Mutex::new(entries),
            changes: watch::Sender::new(0),
        }
    }

    /// All of them, with the interpreter that runs actors; a dictionary literal.
    pub(super) fn literal(&self, python: Option<&Interpreter>) -> String {
        let mut entries = self.entries().clone();
        let known = entries
            .iter()
            .any(|(name, _)| name.as_str() == Some(PYTHON));
        if let Some(python) = python.filter(|_| !known) {
            entries.push((text(PYTHON), version_info(python)));
        }
        Value::Dict(entries).repr()
    }

    /// Sets one, or removes it; whether that changed anything.
    /// What the node was given by this name, at its start or later.
    pub(super) fn value(&self, name: &str) -> Option<Value> {
        let entries = self.entries();
        let named =
            |entry: &&(Value, Value)| matches!(&entry.0, Value::Str(known) if known == name);
        entries
            .iter()
            .rev()
            .find(named)
            .map(|(_, value)| value.clone())
    }

    fn update(&self, name: &Value, value: Option<&Value>) -> bool {
        let changed = set(&mut self.entries(), name, value);
        if changed {
            self.changes.send_modify(|changes| *changes += 1);
        }
        changed
    }

    fn entries(&self) -> MutexGuard<'_, Vec<(Value, Value)>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Node {
    /// Changes a capability; every creation after this call sees it.
    ///
    /// # Errors
    /// When name or value is no literal.
    pub(crate) fn update_capability(
        &self,
        name: &str,
        value: Option<&str>,
    ) -> Result<(), pyliteral::LiteralError> {
        let value = value.map(pyliteral::parse).transpose()?;
        let value = value.filter(|value| *value != Value::None);
        let name = pyliteral::parse(name)?;
        if !self.sources.offered.update(&name, value.as_ref()) {
            return Ok(());
        }
        let capabilities = self.capabilities();
        tracing::info!(name = name.repr(), "capability changed");
        self.router.set_capabilities(capabilities.clone());
        for actor in self.actors.all() {
            let capabilities = capabilities.clone();
            self.router
                .send_system(actor, SystemMessage::Capabilities { capabilities });
        }
        Ok(())
    }

    /// Has the convention know what this node offers, whenever that changes, until shutdown.
    ///
    /// Only the latest is proposed, and again where something older was written over it.
    pub(crate) async fn propose_capabilities(self: Arc<Self>) {
        let registry = &self.membership.registry;
        let (mut changes, mut applied) =
            (self.sources.offered.changes.subscribe(), registry.applied());
        let mut own = self.capabilities();
        let telling = async {
            loop {
                if changes.has_changed().unwrap_or_default() {
                    changes.mark_unchanged();
                    own = self.capabilities();
                }
                applied.borrow_and_update();
                if let Some(known) = self.described_otherwise(&own)
                    && let Err(failure) = registry.propose(self.description(&own, known)).await
                {
                    tracing::debug!(%failure, "the changed capabilities are not committed yet");
                    tokio::time::sleep(PROPOSE_AGAIN).await;
                    continue;
                }
                tokio::select! {
                    changed = changes.changed() => {
                        if changed.is_err() { return }
                        own = self.capabilities();
                    }
                    changed = applied.changed() => if changed.is_err() { return },
                }
            }
        };
        let _stopped = self.shutdown.run_until_cancelled(telling).await;
    }

    /// This run's entry in the registry, if it has other capabilities than these.
    fn described_otherwise(&self, own: &str) -> Option<Member> {
        self.replica.read(|state| {
            let member = state.members.get(&self.id)?;
            let differs = member.incarnation == self.incarnation && member.capabilities != own;
            differs.then(|| member.clone())
        })
    }

    fn description(&self, own: &str, known: Member) -> Command {
        Command::Member(MemberCommand::Describe {
            node: self.id,
            incarnation: self.incarnation,
            address: known.address,
            capabilities: own.to_owned(),
            may_vote: self.membership.may_vote(),
            stamp: stamp(),
        })
    }
}

/// Sets an entry, or removes it; whether that changed anything.
fn set(entries: &mut Vec<(Value, Value)>, name: &Value, value: Option<&Value>) -> bool {
    let at = entries.iter().position(|(known, _)| known == name);
    let before = at.and_then(|at| entries.get(at)).map(|(_, value)| value);
    if before == value {
        return false;
    }
    entries.retain(|(known, _)| known != name);
    entries.extend(value.map(|value| (name.clone(), value.clone())));
    true
}

/// What a node says of itself.
fn own(port: u16, start_ms: u64) -> Vec<(Value, Value)> {
    let entries = [
        ("DirectorFmt", Value::List(vec![Value::Int(1.into())])),
        ("Admin Port", Value::Int(port.into())),
        ("Thespian ActorSystem Name", text("multiprocQUICBase")),
        ("Thespian ActorSystem Version", Value::Int(1.into())),
        (
            "Thespian Generation",
            Value::Tuple(GENERATION.map(|n| Value::Int(n.into())).to_vec()),
        ),
        ("Thespian Version", text(&start_ms.to_string())),
        ("Thespian Watch Supported", Value::Bool(true)),
    ];
    entries
        .map(|(name, value)| (text(name), value))
        .into_iter()
        .collect()
}

/// As `sys.version_info` of the interpreter.
fn version_info(python: &Interpreter) -> Value {
    let (version, release) = (python.version, &python.release);
    let number = |number: u16| Value::Int(number.into());
    Value::Tuple(vec![
        number(version.0),
        number(version.1),
        number(version.2),
        text(&release.0),
        number(release.1),
    ])
}

fn text(text: &str) -> Value {
    Value::Str(text.to_owned())
}

const PYTHON: &str = "Python Version";

/// Wait before a change that was not committed is proposed again.
const PROPOSE_AGAIN: Duration = Duration::from_millis(300);

/// Generation of the Thespian API that actors see: that of 4.0.1.
const GENERATION: [i32; 2] = [3, 10];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_new_value_is_a_change() {
        let capabilities = Capabilities::new(7, 1, &pyliteral::parse("{'a': 1}").unwrap());
        let (a, one) = (text("a"), Value::Int(1.into()));
        assert!(!capabilities.update(&a, Some(&one)));
        assert!(capabilities.update(&a, Some(&text("two"))));
        assert!(capabilities.update(&a, None));
        assert!(!capabilities.update(&a, None));
        assert!(!capabilities.literal(None).contains("'a'"));
    }

    #[test]
    fn what_is_given_comes_before_what_the_node_says() {
        let others = pyliteral::parse("{'Thespian Watch Supported': False}").unwrap();
        let literal = Capabilities::new(7, 1, &others).literal(None);
        assert!(
            literal.contains("'Thespian Watch Supported': False"),
            "{literal}"
        );
        assert!(literal.contains("'Admin Port': 7"), "{literal}");
    }
}
