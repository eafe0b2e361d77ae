//! The actor named `Director`: started by this node when somebody first looks for its name, and
//! what it asks of the node besides what every program may ask.
//!
//! Its code is `thespian.director` in the Python that this program carries, in an environment of
//! its own. Not here: its messages (`python/thespian/system/director_actor.py`).

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use protocol::ActorId;
use protocol::control::{
    ActorFailure, ClientEnvironment, FailureCode, Origin, Request, RequestError, Response,
};
use protocol::registry::{SourceState, State};
use protocol::view::Wish;
use pyliteral::Environment;

use super::actors::Birth;
use super::node::Node;

/// The name by which it is found.
pub(super) const NAME: &str = "Director";

const CLASS: &str = "thespian.director.Director";

/// Names that programs give to its class.
const CALLED: [&str; 3] = [
    "thespian.director",
    CLASS,
    "thespian.system.director_actor.Director",
];

/// Whether this asks for the Director.
pub(super) fn is_meant(request: &Request) -> bool {
    match request {
        Request::CreateActor {
            class,
            global_name: Some(name),
            ..
        } => name == NAME && CALLED.contains(&class.as_str()),
        Request::Resolve { target, group, .. } => target == NAME && group.is_none(),
        _ => false,
    }
}

/// What starts it.
pub(super) fn birth(node: &Node) -> Result<Birth, ActorFailure> {
    let interpreter = node.sources.interpreter(None);
    let interpreter = interpreter.map_err(|message| ActorFailure {
        code: FailureCode::Failure,
        message,
        traceback: None,
    })?;
    Ok(Birth {
        actor: node.fresh_actor(),
        parent: ActorId::NONE,
        origin: Origin::Client(ClientEnvironment {
            interpreter: interpreter.executable.display().to_string(),
            sys_path: Vec::new(),
            main: None,
            directory: "/".to_owned(),
        }),
        class: CLASS.to_owned(),
        global_name: Some(NAME.to_owned()),
        requirements: None,
        slot: None,
    })
}

/// A group's definition, from the text of a dictionary as in a `.tli`; nothing in it is evaluated.
pub(super) fn read_definition(group: &str, text: &str) -> Result<Response, RequestError> {
    let none = BTreeMap::new();
    let name = format!("{group}.tli");
    let read = package::parse_tli(&name, text, &Environment::new(&none));
    let (definition, warnings) =
        read.map_err(|error| super::requests::refused(error.to_string(), Some(&error.hint())))?;
    Ok(Response::Definition {
        definition,
        notes: warnings.iter().map(ToString::to_string).collect(),
    })
}

/// Answers when what is loaded and active differs from what `known` stands for, or after a while.
pub(super) async fn await_activation(node: &Node, known: Option<&str>) -> Response {
    let _not_told = node.replica.want(Wish::Groups).await;
    let mut applied = node.replica.applied();
    let waiting = async {
        loop {
            applied.mark_unchanged();
            let mark = node.replica.read(mark);
            if known != Some(mark.as_str()) || applied.changed().await.is_err() {
                return mark;
            }
        }
    };
    let waited = tokio::time::timeout(WAIT_LIMIT, waiting).await;
    Response::Activation {
        mark: waited.unwrap_or_else(|_elapsed| known.unwrap_or_default().to_owned()),
    }
}

/// Stands for what is loaded and active, and for how it came to be so: there and back is a change.
fn mark(state: &State) -> String {
    let mut hasher = DefaultHasher::new();
    for (name, group) in &state.groups {
        (name, group.active).hash(&mut hasher);
        let last = group
            .history
            .iter()
            .rev()
            .find(|entry| entry.what == "active");
        last.map(|entry| (entry.stamp, entry.hash))
            .hash(&mut hasher);
    }
    let loaded = state.sources.iter();
    for (hash, source) in loaded.filter(|(_, source)| source.state == SourceState::Loaded) {
        (hash, source.order).hash(&mut hasher);
    }
    format!("{:016x}", hasher.finish())
}

/// Who waits for longer asks again; who has gone is not waited with for ever.
const WAIT_LIMIT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn create(class: &str, name: Option<&str>) -> Request {
        Request::CreateActor {
            actor: None,
            class: class.to_owned(),
            source: None,
            client: None,
            requirements: None,
            global_name: name.map(str::to_owned),
        }
    }

    #[test]
    fn the_director_is_meant_by_its_name_with_one_of_its_classes() {
        assert!(is_meant(&create("thespian.director", Some("Director"))));
        assert!(is_meant(&create(CLASS, Some("Director"))));
        assert!(!is_meant(&create(CLASS, None)));
        assert!(!is_meant(&create("my.Director", Some("Director"))));
        let resolve = |group: Option<&str>| Request::Resolve {
            target: NAME.to_owned(),
            group: group.map(str::to_owned),
            confirmed: false,
        };
        assert!(is_meant(&resolve(None)) && !is_meant(&resolve(Some("foo"))));
    }

    #[test]
    fn going_there_and_back_is_another_mark() {
        let mut state = State::default();
        let empty = mark(&state);
        let group = state.groups.entry("foo".to_owned()).or_default();
        group.history.push(protocol::registry::HistoryEntry {
            stamp: protocol::Stamp(1),
            what: "active".to_owned(),
            hash: protocol::SourceHash::default(),
            version: None,
            by: String::new(),
            detail: String::new(),
        });
        let once = mark(&state);
        assert_ne!(empty, once);
        let entry = state.groups.get_mut("foo").unwrap();
        let mut again = entry.history.first().unwrap().clone();
        again.stamp = protocol::Stamp(2);
        entry.history.push(again);
        assert_ne!(mark(&state), once);
        assert_eq!(mark(&state), mark(&state));
    }
}
