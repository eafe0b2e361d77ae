//! The `.tli` file of a group, read into the definition that is replicated.
//!
//! It is a Python dictionary expression; nothing in it is executed. Messages become the text of
//! literals; one that is present counts, whatever its value, `None` included.
//! Not here: the values of environment variables (the caller's `names`), whether a class exists.
//! Source: Thespian director, TLI files; `actor-semantics` 5.3.

use std::collections::BTreeMap;

use protocol::definition::{
    ActorDefinition, AutoUnload, GroupDefinition, OnLostLease, Placement, Preload,
};
use pyliteral::{LiteralError, Names, Value};

mod keys;
use keys::{Level, TliPath};
pub use keys::{TliWarning, TliWarningKind};

/// Reads a `.tli` file; `names` are the environment variables and plain values that it may use.
///
/// # Errors
/// `Literal` with line and column where the text is no expression that is allowed; else the path
/// of keys to the value that does not fit.
pub fn parse_tli(
    file_name: &str,
    text: &str,
    names: &dyn Names,
) -> Result<(GroupDefinition, Vec<TliWarning>), TliError> {
    let limits = pyliteral::Limits::default();
    let value = pyliteral::evaluate(text, names, &limits).map_err(|source| TliError::Literal {
        file: file_name.to_owned(),
        source,
    })?;
    let mut reader = Reader {
        file: file_name,
        warnings: Vec::new(),
    };
    let definition = reader.group(&value)?;
    Ok((definition, reader.warnings))
}

/// Why a `.tli` file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TliError {
    /// The text is no Python literal of the kind that is allowed.
    #[error("`{file}` line {}, column {}: {}", source.line(), source.column(), source.message())]
    Literal {
        /// The file.
        file: String,
        /// Where, and what was expected.
        source: LiteralError,
    },
    /// A value of another type, or another value, than its key takes.
    #[error("`{file}`: {path} must be {expected}, not {found}")]
    Value {
        /// The file.
        file: String,
        /// The keys that lead to the value.
        path: String,
        /// What the key takes.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// A key of `Actors` that cannot be imported.
    #[error("`{file}`: the actor `{}` is no import path", class.escape_debug())]
    Class {
        /// The file.
        file: String,
        /// The key.
        class: String,
    },
    /// Two actors that want one global name.
    #[error("`{file}`: the global name `{name}` is given to `{first}` and to `{second}`")]
    GlobalNameTwice {
        /// The file.
        file: String,
        /// The name.
        name: String,
        /// The actor that has it.
        first: String,
        /// The actor that wants it too.
        second: String,
    },
}

impl TliError {
    /// The next step to take.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Literal { source, .. } => source
                .hint()
                .unwrap_or("mend the file at that place")
                .to_owned(),
            Self::Value { path, expected, .. } => {
                format!("give {path} {expected}, or leave it out")
            }
            Self::Class { .. } => "write `package.module.Class`".to_owned(),
            Self::GlobalNameTwice { second, .. } => format!("give `{second}` a name of its own"),
        }
    }
}

struct Reader<'a> {
    file: &'a str,
    warnings: Vec<TliWarning>,
}

/// Known keys and their values, in the order of the file.
type Entries<'v> = Vec<(&'v str, &'v Value)>;

impl Reader<'_> {
    fn group(&mut self, value: &Value) -> Result<GroupDefinition, TliError> {
        let path = TliPath::default();
        let entries = self.entries(value, &path, Level::Group)?;
        let mut definition = GroupDefinition::default();
        for (key, value) in entries {
            let path = path.key(key);
            match key {
                "Actors" => definition.actors = self.actors(value, &path)?,
                "AutoUnload" => definition.auto_unload = self.auto_unload(value, &path)?,
                "TLS_Keep_Limit" => definition.keep_limit = self.keep_limit(value, &path)?,
                _ => {}
            }
        }
        self.check_names(&definition.actors)?;
        Ok(definition)
    }

    fn actors(&mut self, value: &Value, path: &TliPath) -> Result<Vec<ActorDefinition>, TliError> {
        let pairs = self.dict(value, path, "a dictionary of actors")?;
        let mut actors = Vec::new();
        for (class, sections) in pairs {
            let class = class.as_str().ok_or_else(|| TliError::Class {
                file: self.file.to_owned(),
                class: class.repr(),
            })?;
            if !is_import_path(class) {
                let (file, class) = (self.file.to_owned(), class.to_owned());
                return Err(TliError::Class { file, class });
            }
            actors.push(self.actor(class, sections, &path.key(class))?);
        }
        Ok(actors)
    }

    fn actor(
        &mut self,
        class: &str,
        value: &Value,
        path: &TliPath,
    ) -> Result<ActorDefinition, TliError> {
        let mut actor = ActorDefinition {
            class: class.to_owned(),
            ..Default::default()
        };
        for (key, value) in self.entries(value, path, Level::Actor)? {
            let path = path.key(key);
            match key {
                "OnLoad" => self.on_load(&mut actor, value, &path)?,
                "OnDeactivate" => actor.on_deactivate = self.only_message(value, &path)?,
                "OnReactivate" => actor.on_reactivate = self.only_message(value, &path)?,
                "Requirements" => {
                    self.dict(value, &path, "a dictionary of capabilities")?;
                    actor.requirements = Some(value.repr());
                }
                "Placement" => {
                    let choices = [("one", Placement::One), ("each", Placement::Each)];
                    actor.placement = self.choice(value, &path, "'one' or 'each'", &choices)?;
                }
                "OnLostLease" => {
                    let choices = [("keep", OnLostLease::Keep), ("stop", OnLostLease::Stop)];
                    actor.on_lost_lease =
                        self.choice(value, &path, "'keep' or 'stop'", &choices)?;
                }
                "Preload" => {
                    let preload = value.as_bool();
                    let preload =
                        preload.ok_or_else(|| self.wrong(&path, "True or False", value))?;
                    actor.preload = if preload {
                        Preload::Once
                    } else {
                        Preload::PerActor
                    };
                }
                _ => {}
            }
        }
        Ok(actor)
    }

    fn on_load(
        &mut self,
        actor: &mut ActorDefinition,
        value: &Value,
        path: &TliPath,
    ) -> Result<(), TliError> {
        for (key, value) in self.entries(value, path, Level::OnLoad)? {
            match key {
                "Role" => actor.role = self.name(value, &path.key(key))?,
                "GlobalName" => actor.global_name = self.name(value, &path.key(key))?,
                "Message" => actor.on_load = Some(value.repr()),
                _ => {}
            }
        }
        Ok(())
    }

    fn only_message(&mut self, value: &Value, path: &TliPath) -> Result<Option<String>, TliError> {
        let entries = self.entries(value, path, Level::Message)?;
        Ok(entries.first().map(|(_, message)| message.repr()))
    }

    /// A name; `None` and blank text stand for none.
    fn name(&self, value: &Value, path: &TliPath) -> Result<Option<String>, TliError> {
        match value {
            Value::None => Ok(None),
            Value::Str(name) => Ok(Some(name.clone()).filter(|name| !name.trim().is_empty())),
            other => Err(self.wrong(path, "a string", other)),
        }
    }

    /// `True`, 0 and 1 keep the newest only, as Thespian has it.
    fn auto_unload(&self, value: &Value, path: &TliPath) -> Result<AutoUnload, TliError> {
        let count = value.as_i64().and_then(|count| u32::try_from(count).ok());
        match (value, count) {
            (Value::None | Value::Bool(false), _) => Ok(AutoUnload::KeepAll),
            (Value::Bool(true), _) => Ok(AutoUnload::Keep(1)),
            (_, Some(count)) => Ok(AutoUnload::Keep(count.max(1))),
            _ => Err(self.wrong(path, "True, False or a number of versions to keep", value)),
        }
    }

    /// Below 1 means no limit, as Thespian has it.
    fn keep_limit(&self, value: &Value, path: &TliPath) -> Result<Option<u32>, TliError> {
        match (value, value.as_i64()) {
            (Value::None, _) => Ok(None),
            (_, Some(limit)) if limit < 1 => Ok(None),
            (_, Some(limit)) => Ok(Some(u32::try_from(limit).unwrap_or(u32::MAX))),
            _ => Err(self.wrong(path, "a number of package files to keep", value)),
        }
    }

    fn choice<T: Copy>(
        &self,
        value: &Value,
        path: &TliPath,
        expected: &'static str,
        choices: &[(&str, T)],
    ) -> Result<T, TliError> {
        let chosen = choices
            .iter()
            .find(|(name, _)| value.as_str() == Some(name));
        chosen
            .map(|(_, choice)| *choice)
            .ok_or_else(|| self.wrong(path, expected, value))
    }

    /// The entries of a dictionary under the keys of its level; a warning for each other one.
    fn entries<'v>(
        &mut self,
        value: &'v Value,
        path: &TliPath,
        level: Level,
    ) -> Result<Entries<'v>, TliError> {
        let mut entries = Entries::new();
        for (key, value) in self.dict(value, path, level.describe())? {
            match key.as_str().filter(|key| level.keys().contains(key)) {
                Some(key) => {
                    entries.push((key, value));
                }
                None => self.warnings.push(level.unknown_key(self.file, path, key)),
            }
        }
        Ok(entries)
    }

    fn dict<'v>(
        &self,
        value: &'v Value,
        path: &TliPath,
        expected: &'static str,
    ) -> Result<&'v [(Value, Value)], TliError> {
        value
            .as_dict()
            .ok_or_else(|| self.wrong(path, expected, value))
    }

    fn wrong(&self, path: &TliPath, expected: &'static str, found: &Value) -> TliError {
        TliError::Value {
            file: self.file.to_owned(),
            path: path.to_string(),
            expected,
            found: keys::describe(found),
        }
    }

    fn check_names(&mut self, actors: &[ActorDefinition]) -> Result<(), TliError> {
        let (mut roles, mut names) = (BTreeMap::new(), BTreeMap::new());
        for actor in actors {
            let class = actor.class.as_str();
            if let Some(role) = &actor.role {
                let first: &str = roles.entry(role).or_insert(class);
                if first != class {
                    self.warnings
                        .push(TliWarning::role_twice(self.file, role, first, class));
                }
            }
            if let Some(name) = &actor.global_name {
                let first: &str = names.entry(name).or_insert(class);
                if first != class {
                    return Err(TliError::GlobalNameTwice {
                        file: self.file.to_owned(),
                        name: name.clone(),
                        first: first.to_owned(),
                        second: class.to_owned(),
                    });
                }
            }
        }
        Ok(())
    }
}

/// Identifiers joined by dots; whether they exist shows at the preflight.
fn is_import_path(text: &str) -> bool {
    text.split('.').all(|part| {
        let starts = part.starts_with(|first: char| first.is_alphabetic() || first == '_');
        starts
            && part
                .chars()
                .all(|character| character.is_alphanumeric() || character == '_')
    })
}

#[cfg(test)]
mod tests;
