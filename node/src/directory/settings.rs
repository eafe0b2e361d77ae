//! What the `.cfg` files of a directory say, read and typed in one go.
//!
//! A file that is absent gives the default; one that cannot be read or understood is an error
//! that names it, never silently the default.
//! Not here: how one file is read (`cfg`), the types (`kinds`), which interpreter results
//! (`hosting::interpreter`).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fmt};

use pyliteral::{Environment, Value};

use super::cfg::{Cfg, SettingsError};
use super::kinds::{self, EnvironmentEntry, LeaderAddress};
use super::place::{Directory, DirectoryError};
use crate::hosting::PythonConfig;

/// The settings of a directory.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `adminport.cfg`; 0: any free port.
    pub admin_port: u16,
    /// `thespbase.cfg`: the name of the system base, as it is written there.
    pub system_base: Option<String>,
    /// `oldthespbase.cfg`.
    pub old_system_base: Option<String>,
    /// `convleader.cfg`; empty: this node founds a convention.
    pub convention_leaders: Vec<LeaderAddress>,
    /// `convtoken.cfg`.
    pub join_token: Option<String>,
    /// `convvoters.cfg`.
    pub voters: u8,
    /// `voter.cfg`: whether this node may become a voter.
    pub voter: bool,
    /// `offline.cfg`: whether actors serve local clients while the convention is unreachable.
    pub offline: bool,
    /// `nodename.cfg`, else the host's name.
    pub node_name: String,
    /// `advertise.cfg`: `host[:port]` under which others reach this node.
    pub advertise: Option<String>,
    /// `listen.cfg`: address on which this node listens for others; `None`: on all.
    pub listen: Option<IpAddr>,
    /// `python.cfg`; `None`: the rest of the policy decides.
    pub python: Option<PythonConfig>,
    /// `pythonpath.cfg`: entries of a worker's `sys.path`, behind its source.
    pub python_path: Vec<PathBuf>,
    /// `environment.cfg`; `None`: workers have the daemon's environment.
    pub environment: Option<Vec<EnvironmentEntry>>,
    /// `drain.cfg`: how long a draining source may finish its work.
    pub drain: Duration,
    /// `clientgroup.cfg`: the system group whose members may use this node.
    pub client_group: Option<String>,
    /// `pickle.cfg`: further classes that messages from other sources may hold.
    pub pickle: Vec<String>,
    /// `storelimit.cfg`: bytes that the package store may take.
    pub store_limit_bytes: Option<u64>,
    /// `othercaps.cfg`: a dictionary of further capabilities.
    pub other_capabilities: Value,
    /// `thesplog.cfg`: a `dictConfig` dictionary.
    pub log_configuration: Option<Value>,
    /// `thesplogd.cfg`, else the first of `/var/log`, `/var/tmp` and the temporary directory that
    /// can be written.
    pub log_directory: PathBuf,
    /// `thesplogf.cfg`, else `thespian_system.log` in the Director directory.
    pub internal_log: PathBuf,
    /// `thesplogs.cfg`: bytes at which the internal log is rotated.
    pub internal_log_bytes_max: u64,
    /// Raw texts of the files that are there, by file name, for showing.
    pub texts: BTreeMap<String, String>,
}

impl Settings {
    /// The capabilities of `othercaps.cfg` as a dictionary literal.
    #[must_use]
    pub fn other_capabilities_literal(&self) -> String {
        self.other_capabilities.repr()
    }

    /// The system base as it is shown: every `multiproc*` name means this system.
    #[must_use]
    pub fn system_base_shown(&self) -> &str {
        match &self.system_base {
            Some(name) if !name.starts_with("multiproc") => name,
            _ => "multiprocQUICBase",
        }
    }
}

/// Settings with what deserves a word although they can be used.
#[derive(Debug, Clone)]
pub struct SettingsRead {
    /// The settings.
    pub settings: Settings,
    /// What was noticed.
    pub warnings: Vec<SettingsWarning>,
}

/// Something about the settings that a person should look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettingsWarning {
    /// A `.cfg` file that nothing reads.
    UnknownFile {
        /// Its path.
        path: PathBuf,
        /// The known name that is most like it.
        like: Option<&'static str>,
    },
}

impl fmt::Display for SettingsWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownFile { path, like } => {
                write!(
                    f,
                    "`{}` is no setting of Director and is not read",
                    path.display()
                )?;
                match like {
                    Some(name) => write!(f, "; did you mean `{name}`?"),
                    None => Ok(()),
                }
            }
        }
    }
}

impl Directory {
    /// Reads all settings.
    ///
    /// A directory that does not exist has default settings: nothing needs one until keys or
    /// packages are wanted.
    ///
    /// # Errors
    /// The first file that cannot be used, with line, column and what was expected.
    pub fn settings(&self) -> Result<SettingsRead, SettingsError> {
        let variables = variables();
        let environment = Environment::new(&variables);
        let mut files = Files {
            directory: self,
            names: &environment,
            texts: BTreeMap::new(),
        };
        let log_directory = files.one("thesplogd.cfg", |cfg| cfg.text("a path"))?;
        let log_directory = log_directory.map_or_else(default_log_directory, PathBuf::from);
        let with_logdir =
            Environment::new(&variables).with("logdir", log_directory.to_string_lossy().as_ref());
        let log_configuration = files.one_with(&with_logdir, "thesplog.cfg", kinds::dictionary)?;
        let settings = Settings {
            admin_port: files
                .one("adminport.cfg", kinds::port)?
                .unwrap_or(ADMIN_PORT),
            system_base: files.one("thespbase.cfg", |cfg| cfg.text("a name"))?,
            old_system_base: files.one("oldthespbase.cfg", |cfg| cfg.text("a name"))?,
            convention_leaders: files
                .one("convleader.cfg", LeaderAddress::read_all)?
                .unwrap_or_default(),
            join_token: files.one("convtoken.cfg", |cfg| cfg.text("a join token"))?,
            voters: files
                .one("convvoters.cfg", kinds::voters)?
                .unwrap_or(VOTERS),
            voter: files.one("voter.cfg", kinds::truth)?.unwrap_or(true),
            offline: files.one("offline.cfg", kinds::truth)?.unwrap_or(false),
            node_name: files
                .one("nodename.cfg", |cfg| cfg.text("a name"))?
                .unwrap_or_else(host_name),
            advertise: files.one("advertise.cfg", |cfg| cfg.text("`host[:port]`"))?,
            listen: files.one("listen.cfg", kinds::address)?,
            python: files.one("python.cfg", kinds::python)?,
            python_path: files
                .one("pythonpath.cfg", kinds::paths)?
                .unwrap_or_default(),
            environment: files.one("environment.cfg", EnvironmentEntry::read_all)?,
            drain: files.one("drain.cfg", kinds::seconds)?.unwrap_or(DRAIN),
            client_group: files.one("clientgroup.cfg", |cfg| cfg.text("a group's name"))?,
            pickle: files
                .one("pickle.cfg", kinds::dotted_names)?
                .unwrap_or_default(),
            store_limit_bytes: files.one("storelimit.cfg", kinds::bytes)?,
            other_capabilities: files
                .one("othercaps.cfg", kinds::capabilities)?
                .unwrap_or_else(|| Value::Dict(Vec::new())),
            log_configuration,
            log_directory,
            internal_log: files
                .one("thesplogf.cfg", |cfg| cfg.text("a path"))?
                .map_or_else(|| self.file("thespian_system.log"), |path| self.file(path)),
            internal_log_bytes_max: files
                .one("thesplogs.cfg", kinds::bytes)?
                .unwrap_or(INTERNAL_LOG_BYTES_MAX),
            texts: files.texts,
        };
        Ok(SettingsRead {
            settings,
            warnings: self.settings_warnings(),
        })
    }

    fn settings_warnings(&self) -> Vec<SettingsWarning> {
        let names = match self.names_ending_with(".cfg") {
            Ok(names) => names,
            Err(DirectoryError::Missing { .. } | DirectoryError::NotADirectory { .. }) => {
                Vec::new()
            }
            Err(DirectoryError::Unreadable { .. }) => Vec::new(),
        };
        let unknown = names
            .into_iter()
            .filter(|name| !KNOWN.contains(&name.as_str()));
        unknown
            .map(|name| SettingsWarning::UnknownFile {
                like: most_like(&name),
                path: self.file(name),
            })
            .collect()
    }
}

/// The files of one reading.
struct Files<'a> {
    directory: &'a Directory,
    names: &'a Environment<'a>,
    texts: BTreeMap<String, String>,
}

impl Files<'_> {
    fn one<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&Cfg<'_>) -> Result<T, SettingsError>,
    ) -> Result<Option<T>, SettingsError> {
        self.one_with(self.names, name, read)
    }

    fn one_with<T>(
        &mut self,
        names: &Environment<'_>,
        name: &'static str,
        read: impl FnOnce(&Cfg<'_>) -> Result<T, SettingsError>,
    ) -> Result<Option<T>, SettingsError> {
        let Some(cfg) = Cfg::read(&self.directory.file(name), names)? else {
            return Ok(None);
        };
        self.texts.insert(name.to_owned(), cfg.raw().to_owned());
        read(&cfg).map(Some)
    }
}

/// The environment that `.cfg` and `.tli` files may name; what is no text cannot be named there.
#[must_use]
pub fn variables() -> BTreeMap<String, String> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    env::vars_os().filter_map(text).collect()
}

fn default_log_directory() -> PathBuf {
    let candidates = [PathBuf::from("/var/log"), PathBuf::from("/var/tmp")];
    let writable = |path: &Path| {
        rustix::fs::access(
            path,
            rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK,
        )
        .is_ok()
    };
    candidates
        .into_iter()
        .find(|path| writable(path))
        .unwrap_or_else(env::temp_dir)
}

fn host_name() -> String {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = kernel
        .or_else(|| env::var("HOSTNAME").ok())
        .unwrap_or_default();
    if name.trim().is_empty() {
        "localhost".to_owned()
    } else {
        name.trim().to_owned()
    }
}

/// The known name with the fewest letters changed, where few are.
fn most_like(name: &str) -> Option<&'static str> {
    let distances = KNOWN
        .iter()
        .map(|known| (edit_distance(name, known), *known));
    distances
        .min()
        .filter(|(distance, _)| *distance <= 3)
        .map(|(_, known)| known)
}

/// Letters to insert, delete or replace to get from one word to the other.
fn edit_distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut next = vec![i + 1];
        for ((b, above_left), above) in to.chars().zip(&row).zip(row.iter().skip(1)) {
            let left = next.last().copied().unwrap_or(0);
            next.push(
                (above_left + usize::from(a != b))
                    .min(above + 1)
                    .min(left + 1),
            );
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

/// Every name that is read.
const KNOWN: [&str; 23] = [
    "adminport.cfg",
    "advertise.cfg",
    "clientgroup.cfg",
    "convleader.cfg",
    "convtoken.cfg",
    "convvoters.cfg",
    "drain.cfg",
    "environment.cfg",
    "listen.cfg",
    "nodename.cfg",
    "offline.cfg",
    "oldthespbase.cfg",
    "othercaps.cfg",
    "pickle.cfg",
    "python.cfg",
    "pythonpath.cfg",
    "storelimit.cfg",
    "thespbase.cfg",
    "thesplog.cfg",
    "thesplogd.cfg",
    "thesplogf.cfg",
    "thesplogs.cfg",
    "voter.cfg",
];

/// Thespian's default.
const ADMIN_PORT: u16 = 1900;
/// One loss is survived.
const VOTERS: u8 = 3;
/// Long enough for a handler that talks to a slow service, short enough to wait for.
const DRAIN: Duration = Duration::from_secs(30);
/// Thespian's default.
const INTERNAL_LOG_BYTES_MAX: u64 = 51_200;
