//! One package on its way to the node: chosen, read together with its `.tli`, uploaded.
//!
//! Not here: whether the node accepts it (`node::agent`), many at once (`refresh`).

use std::path::{Path, PathBuf};

use node::client::Client;
use package::PackageName;
use protocol::control::{Lies, Reach, Request, Response};
use protocol::{GroupDefinition, RequestId, SourceHash};
use serde_json::{Value, json};

use super::refusal::{refusal, unexpected};
use super::session::Online;
use super::shown::user;
use crate::commands::Context;
use crate::files::{evaluate_definition, read_definition};
use crate::progress::Progress;
use crate::{Exit, Failure};

/// A package and what the Director shall do with it.
#[derive(Debug)]
pub(crate) struct LoadOrder {
    pub(crate) path: PathBuf,
    pub(crate) name: PackageName,
    pub(crate) definition: GroupDefinition,
    /// Idempotency id: carried out again, it changes nothing more.
    pub(crate) request: RequestId,
    pub(crate) reach: Reach,
    pub(crate) no_wait: bool,
    pub(crate) upwards_only: bool,
    /// It lies in another member's Director directory: nothing is uploaded.
    pub(crate) lies: Option<Lies>,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Loaded {
    group: String,
    version: Option<String>,
    path: PathBuf,
    pub(crate) hash: SourceHash,
    pub(crate) changed: bool,
    pub(crate) notes: Vec<String>,
    waited: bool,
    deleted: Vec<PathBuf>,
}

impl LoadOrder {
    /// The package that a word names (a group's newest, or one file) with its group's `.tli`.
    ///
    /// # Errors
    /// `Refused` with what is missing or wrong.
    pub(crate) fn find(context: &Context, word: &Path) -> Result<Self, Failure> {
        let directory = &context.directory;
        directory.check().map_err(|error| {
            let hint = error.hint();
            Failure::new(Exit::Refused, error).hint(hint)
        })?;
        let path = match as_group(context, word) {
            Some(path) => path,
            None => context
                .package_named(word)
                .ok_or_else(|| missing(context, word))?,
        };
        let path = std::path::absolute(&path).unwrap_or(path);
        let name = directory.name_of(&path).map_err(|error| {
            Failure::new(Exit::Refused, error)
                .hint("a package is called GROUP-VERSION.tls or GROUP.tls, as `gensrc` writes it")
        })?;
        Self::new(context, path, name)
    }

    /// A package whose name is known.
    ///
    /// # Errors
    /// `Refused` when the group has no `.tli`, or one that cannot be read.
    pub(crate) fn new(
        context: &Context,
        path: PathBuf,
        name: PackageName,
    ) -> Result<Self, Failure> {
        let tli = context.directory.tli(name.group());
        if !tli.is_file() {
            let (tli, group) = (tli.display(), name.group());
            let text = format!(
                "`{}` cannot be loaded: `{tli}` does not exist",
                path.display()
            );
            return Err(Failure::text(Exit::Refused, text).hint(format_args!(
                "write it: it names the actors to start, as {{'Actors': {{'{group}.main.Main': \
                 {{'OnLoad': {{'Role': 'Main'}}}}}}}}"
            )));
        }
        let definition = read_definition(&tli, context.printer, Exit::Refused)?;
        Ok(Self::of(path, name, definition))
    }

    /// A package of another member's Director directory, with the text of the `.tli` beside it;
    /// this process evaluates it, as it does its own.
    ///
    /// # Errors
    /// `Refused` when the `.tli` cannot be read.
    pub(crate) fn elsewhere(
        context: &Context,
        path: PathBuf,
        name: PackageName,
        lies: Lies,
        tli: &str,
    ) -> Result<Self, Failure> {
        let shown = path.with_file_name(format!("{}.tli", name.group()));
        let shown = shown.display().to_string();
        let definition = evaluate_definition(&shown, tli, context.printer, Exit::Refused)?;
        let lies = Some(lies);
        Ok(Self {
            lies,
            ..Self::of(path, name, definition)
        })
    }

    fn of(path: PathBuf, name: PackageName, definition: GroupDefinition) -> Self {
        Self {
            path,
            name,
            definition,
            request: RequestId(rand::random()),
            reach: Reach::OnDemand,
            no_wait: false,
            upwards_only: false,
            lies: None,
        }
    }

    /// Uploads it and waits until it is active; then deletes the group's surplus packages.
    ///
    /// # Errors
    /// Why it is not active; then nothing has changed.
    pub(crate) fn carry_out(
        &self,
        context: &Context,
        online: &mut Online,
    ) -> Result<Loaded, Failure> {
        let request = Request::Load {
            request: self.request,
            group: self.name.group().to_owned(),
            version: self.name.version().map(str::to_owned),
            path: self.path.display().to_string(),
            definition: self.definition.clone(),
            by: user(),
            no_wait: self.no_wait,
            upwards_only: self.upwards_only,
            reach: self.reach,
            lies: self.lies.clone(),
        };
        let answer = match self.lies {
            Some(_) => online.request(request)?,
            None => online.with(async |client| upload(client, &self.path, request).await)?,
        };
        let Response::Loaded {
            hash,
            changed,
            notes,
        } = answer
        else {
            return Err(unexpected(&answer));
        };
        let mut loaded = Loaded {
            group: self.name.group().to_owned(),
            version: self.name.version().map(str::to_owned),
            path: self.path.clone(),
            hash,
            changed,
            notes,
            waited: !self.no_wait,
            deleted: Vec::new(),
        };
        loaded.deleted = self.delete_surplus(context, online);
        Ok(loaded)
    }

    /// Applies `TLS_Keep_Limit`; the package is loaded, so that a fault is a warning only.
    fn delete_surplus(&self, context: &Context, online: &mut Online) -> Vec<PathBuf> {
        let (group, limit) = (self.name.group(), self.definition.keep_limit);
        let kept = super::surplus::delete(context, online, group, limit, &self.path);
        kept.unwrap_or_else(|failure| {
            context
                .printer
                .warning(format_args!("TLS_Keep_Limit: {failure}"));
            Vec::new()
        })
    }
}

impl Loaded {
    /// `Loaded "foo" PATH: HASH`.
    pub(crate) fn line(&self) -> String {
        let word = if self.waited { "Loaded" } else { "Committed" };
        format!(
            "{word} \"{}\" {}: {}",
            self.group,
            self.path.display(),
            self.hash
        )
    }

    /// Says on stderr what else there is to know.
    pub(crate) fn tell_notes(&self, context: &Context) {
        for note in &self.notes {
            context.printer.note(format_args!("{}: {note}", self.group));
        }
        for path in &self.deleted {
            context
                .printer
                .note(format_args!("deleted {} (TLS_Keep_Limit)", path.display()));
        }
    }

    /// The same as a JSON value.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "group": self.group,
            "version": self.version,
            "path": self.path,
            "hash": self.hash.to_string(),
            "changed": self.changed,
            "waited": self.waited,
            "notes": self.notes,
            "deleted": self.deleted,
        })
    }
}

/// The newest package of the group that a bare word or `GROUP.tli` names.
fn as_group(context: &Context, word: &Path) -> Option<PathBuf> {
    let text = match word.extension() {
        Some(extension) if extension == "tli" => word.file_stem()?.to_str()?,
        Some(extension) if extension == "tls" => return None,
        _ => word.to_str()?,
    };
    let packages = context.directory.packages_of(text).ok()?;
    packages.into_iter().next().map(|package| package.path)
}

fn missing(context: &Context, word: &Path) -> Failure {
    let (shown, directory) = (word.display(), context.directory.path().display());
    let text = if as_group_name(word).is_some_and(|group| context.directory.tli(group).is_file()) {
        format!("the group `{shown}` has no package in `{directory}`")
    } else {
        format!("`{shown}` is no group and no package: looked for the path, and in `{directory}`")
    };
    Failure::text(Exit::Refused, text)
        .hint("`director avail` lists what is there, `director gensrc` builds a package")
}

fn as_group_name(word: &Path) -> Option<&str> {
    let text = word.to_str()?;
    Some(text.strip_suffix(".tli").unwrap_or(text))
}

async fn upload(client: &mut Client, path: &Path, request: Request) -> Result<Response, Failure> {
    let unreadable = |cause: std::io::Error| {
        Failure::text(
            Exit::Refused,
            format_args!("`{}` cannot be read: {cause}", path.display()),
        )
        .hint("check the rights of the file and its folder")
    };
    let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
    let about = file.metadata().await.map_err(unreadable)?;
    if !about.is_file() {
        let text = format!("`{}` is not a file", path.display());
        return Err(Failure::text(Exit::Refused, text).hint("name a package, or its group"));
    }
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let progress = Progress::bytes(format!("loading {name}"), about.len());
    client
        .upload(file, request, |n_bytes| progress.add(n_bytes))
        .await
        .map_err(refusal)
}
