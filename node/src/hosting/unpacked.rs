//! Unpacked sources: the folders that workers have on their `sys.path`.
//!
//! One folder a source, named after its hash, written beside its place and moved there whole:
//! what is there is complete. Only a verified package gets here. Compiled files are made for
//! each interpreter that runs the source, with hashes that nobody checks again, because nothing
//! in the folder ever changes.
//! Not here: verification and the archive's format (`package`).

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use package::{ArchiveError, Limits, Member, UnpackSink, Verified};
use protocol::SourceHash;

use crate::hosting::bounded_run;
use crate::hosting::interpreter::Interpreter;
use crate::hosting::tags::{RequiredTags, WrongTag};

/// A source that can be imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnpackedSource {
    /// Its folder.
    pub folder: PathBuf,
    /// Files that do not compile, and the like; none of it keeps actors from starting.
    pub warnings: Vec<String>,
}

/// A source that cannot be made importable here.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The package is not what it should be, or its files could not be written.
    #[error("the source `{}` cannot be unpacked", hash.short())]
    Archive {
        /// The source.
        hash: SourceHash,
        /// Why.
        #[source]
        cause: ArchiveError,
    },
    /// The state folder does not take it.
    #[error(
        "`{}` cannot be written; see that the disk has room and the folder is ours",
        path.display()
    )]
    Write {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// An extension module is for another Python.
    #[error(transparent)]
    Tag(#[from] WrongTag),
}

/// Makes a verified package importable by `interpreter`; blocking.
///
/// Does nothing that was done before.
///
/// # Errors
/// [`UnpackError`]; nothing is left behind then.
pub fn unpack<R: Read + Seek>(
    state: &Path,
    package: &mut R,
    verified: &Verified,
    interpreter: &Interpreter,
) -> Result<UnpackedSource, UnpackError> {
    let hash = verified.hash();
    let archive = |cause| UnpackError::Archive { hash, cause };
    let limits = Limits::default();
    let members = package::contents(package, verified, &limits).map_err(archive)?;
    let names = members.iter().map(|member| member.name.as_str());
    RequiredTags::of(names).check(&interpreter.suffixes)?;

    lay_out(state, hash, &members, interpreter, |sink| {
        package::unpack(package, verified, &limits, sink).map(drop)
    })
}

/// As [`unpack`], of a plain zip file that an application's own authority vouched for.
///
/// # Errors
/// [`UnpackError`]; nothing is left behind then.
pub fn unpack_plain<R: Read + Seek>(
    state: &Path,
    hash: SourceHash,
    zip: &mut R,
    interpreter: &Interpreter,
) -> Result<UnpackedSource, UnpackError> {
    let limits = Limits::default();
    let archive = |cause| UnpackError::Archive { hash, cause };
    let members = package::plain_contents(zip, &limits).map_err(archive)?;
    let names = members.iter().map(|member| member.name.as_str());
    RequiredTags::of(names).check(&interpreter.suffixes)?;
    lay_out(state, hash, &members, interpreter, |sink| {
        package::unpack_plain(zip, &limits, sink).map(drop)
    })
}

/// Writes what is not there yet, and compiles it.
fn lay_out(
    state: &Path,
    hash: SourceHash,
    members: &[Member],
    interpreter: &Interpreter,
    write: impl FnOnce(&mut Folder<'_>) -> Result<(), ArchiveError>,
) -> Result<UnpackedSource, UnpackError> {
    let folder = folder_of(state, &hash);
    if !folder.is_dir() {
        let failed = |cause| UnpackError::Write {
            path: folder.clone(),
            cause,
        };
        let parent = state.join(FOLDER_NAME);
        fs::create_dir_all(&parent).map_err(failed)?;
        let fresh = tempfile::Builder::new()
            .prefix(".new-")
            .tempdir_in(&parent)
            .map_err(failed)?;
        write(&mut Folder { root: fresh.path() })
            .map_err(|cause| UnpackError::Archive { hash, cause })?;
        settle(fresh, &folder).map_err(failed)?;
    }
    let sources = members
        .iter()
        .filter(|member| member.name.ends_with(".py"))
        .count();
    let warnings = compile(&folder, sources, interpreter);
    Ok(UnpackedSource { folder, warnings })
}

/// Where a source lies when it is unpacked.
#[must_use]
pub fn folder_of(state: &Path, hash: &SourceHash) -> PathBuf {
    state.join(FOLDER_NAME).join(hash.to_string())
}

/// Removes an unpacked source that nothing runs any more; blocking.
///
/// # Errors
/// When the folder is there and cannot be removed.
pub fn remove_unpacked(state: &Path, hash: &SourceHash) -> io::Result<()> {
    let parent = state.join(FOLDER_NAME);
    let name = hash.to_string();
    let Ok(entries) = fs::read_dir(&parent) else {
        return Ok(());
    };
    for entry in entries {
        let path = entry?.path();
        let file = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        let is_marker = file.is_some_and(|file| {
            file.strip_prefix(&name)
                .is_some_and(|rest| rest.starts_with('.'))
        });
        if is_marker {
            fs::remove_file(path)?;
        }
    }
    let folder = folder_of(state, hash);
    if !folder.exists() {
        return Ok(());
    }
    // Out of its place at once: half a folder must never look like a whole one.
    let doomed = tempfile::Builder::new()
        .prefix(".old-")
        .tempdir_in(&parent)?;
    fs::rename(&folder, doomed.path().join("source"))?;
    doomed.close()
}

/// Moves a finished folder to its place.
fn settle(fresh: tempfile::TempDir, folder: &Path) -> io::Result<()> {
    fs::set_permissions(fresh.path(), Permissions::from_mode(FOLDER_MODE))?;
    match fs::rename(fresh.path(), folder) {
        // Another task was faster with the same source.
        Err(_) if folder.is_dir() => Ok(()),
        Err(cause) => Err(cause),
        Ok(()) => {
            let _ = fresh.keep();
            Ok(())
        }
    }
}

/// Compiles what lies in the folder, once for each version of Python; answers warnings.
fn compile(folder: &Path, sources: usize, interpreter: &Interpreter) -> Vec<String> {
    let marker = marker_of(folder, interpreter);
    if let Ok(known) = fs::read_to_string(&marker) {
        return known.lines().map(str::to_owned).collect();
    }
    if sources == 0 {
        return Vec::new();
    }
    let mut command = compiler(folder, sources, interpreter);
    match bounded_run::run(&mut command, COMPILE_LIMIT) {
        Ok(run) => {
            let warnings = warnings_of(&format!("{}\n{}", run.stdout, run.stderr), folder);
            if run.status.success() || !warnings.is_empty() {
                let _ = fs::write(&marker, warnings.join("\n"));
            }
            warnings
        }
        Err(cause) => vec![format!(
            "the sources could not be compiled beforehand: {cause}"
        )],
    }
}

/// The program that compiles a folder: of few files in less time than `compileall` needs to start.
fn compiler(folder: &Path, sources: usize, interpreter: &Interpreter) -> Command {
    let mut command = Command::new(&interpreter.executable);
    command.args(["-I", "-S", "-W", "ignore"]);
    if sources > PARALLEL_FROM {
        command
            .args(["-m", "compileall", "-q", "-f", "-r", "100", "-j", "0"])
            .args(["--invalidation-mode", "unchecked-hash", "--"]);
    } else {
        command.args(["-c", COMPILING]);
    }
    command.arg(folder).current_dir("/");
    command
}

/// The file beside the folder that says that compiled files for this Python are in it.
fn marker_of(folder: &Path, interpreter: &Interpreter) -> PathBuf {
    let version = interpreter.version;
    let implementation = interpreter
        .suffixes
        .first()
        .map(String::as_str)
        .unwrap_or_default();
    let mut name = folder.as_os_str().to_owned();
    name.push(format!(
        ".{}.{}{implementation}.compiled",
        version.0, version.1
    ));
    PathBuf::from(name)
}

/// One line for each file that does not compile.
fn warnings_of(output: &str, folder: &Path) -> Vec<String> {
    let mut out = Vec::new();
    let prefix = format!("{}/", folder.display());
    for block in output.split("*** Error compiling ").skip(1) {
        let (file, rest) = block.split_once("...\n").unwrap_or((block, ""));
        let reason = rest.lines().rfind(|line| !line.trim().is_empty());
        let reason = reason.unwrap_or("the reason is not known").trim();
        let file = file.trim().trim_matches('\'').replace(&prefix, "");
        out.push(format!(
            "`{file}` does not compile: {}",
            reason.replace(&prefix, "")
        ));
    }
    out
}

/// Writes members below a fresh folder.
struct Folder<'a> {
    root: &'a Path,
}

impl UnpackSink for Folder<'_> {
    fn directory(&mut self, name: &str) -> io::Result<()> {
        let path = self.root.join(name);
        fs::create_dir(&path)?;
        fs::set_permissions(path, Permissions::from_mode(FOLDER_MODE))
    }

    fn file(&mut self, name: &str, _size: u64) -> io::Result<Box<dyn Write + '_>> {
        let mut options = OpenOptions::new();
        let options = options.write(true).create_new(true).mode(FILE_MODE);
        let file: File = options.open(self.root.join(name))?;
        file.set_permissions(Permissions::from_mode(FILE_MODE))?;
        Ok(Box::new(file))
    }
}

const FOLDER_NAME: &str = "unpacked";

/// Compiles the sources of the folder that it is given.
const COMPILING: &str = include_str!("../../../python/thespian/system/compiling.py");

/// Readable for whoever a worker may run as; written by nobody.
const FILE_MODE: u32 = 0o644;

const FOLDER_MODE: u32 = 0o755;

/// Files from which starting more processes pays.
const PARALLEL_FROM: usize = 200;

/// Compiling is a help, not a need: what takes longer than this is left to the imports.
const COMPILE_LIMIT: Duration = Duration::from_secs(120);
