//! Where the sockets of a node lie, and how a client finds them.
//!
//! A node that runs as root uses `/run/director`, any other the user's own runtime folder, so that
//! a client finds it from the admin port alone.
//! Not here: dialling (`client`), accepting (`router`).

use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use super::place::Directory;
use super::state::{NodeRecord, private_folder};

/// The folder in which a node of this user puts its sockets, made if it is not there.
///
/// Root's may be entered by everybody (rights are checked per connection), a user's by nobody else.
///
/// # Errors
/// The system's; `PermissionDenied` when a folder of that name is not safely this user's.
pub fn runtime_folder() -> io::Result<PathBuf> {
    let path = own_folder();
    if is_root() {
        return root_folder(&path).map(|()| path);
    }
    private_folder(&path)?;
    Ok(path)
}

/// The control socket of the node with this port.
#[must_use]
pub fn socket_path(folder: &Path, port: u16) -> PathBuf {
    folder.join(format!("{port}.sock"))
}

/// The socket for the processes that the node with this port starts.
#[must_use]
pub fn worker_socket_path(folder: &Path, port: u16) -> PathBuf {
    folder.join(format!("{port}.workers.sock"))
}

/// Where the log process of the node with this port listens, where there is one.
#[must_use]
pub fn log_socket_path(folder: &Path, port: u16) -> PathBuf {
    folder.join(format!("{port}.log.sock"))
}

/// The socket for records that the convention's leader is to have as well.
#[must_use]
pub fn relay_socket_path(folder: &Path, port: u16) -> PathBuf {
    folder.join(format!("{port}.relay.sock"))
}

/// A place at which a node may be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodePlace {
    /// The control socket.
    pub socket: PathBuf,
    /// The record it was found by; `None`: found by the port.
    pub record: Option<NodeRecord>,
}

impl Directory {
    /// Where the node of this directory may be reached, the likeliest first; empty: no node runs.
    ///
    /// Only sockets that are there, and that this user or root made, are given.
    /// A place is no proof: dial them in turn, the process behind one may be gone.
    #[must_use]
    pub fn find_node(&self, port: u16) -> Vec<NodePlace> {
        let record = self.state().record().ok().flatten();
        let recorded = record
            .filter(|record| process_lives(record.pid))
            .map(|record| NodePlace {
                socket: record.socket.clone(),
                record: Some(record),
            });
        let mut places: Vec<_> = recorded.into_iter().collect();
        if port != 0 {
            for folder in client_folders() {
                let socket = socket_path(&folder, port);
                if places.iter().all(|place| place.socket != socket) {
                    places.push(NodePlace {
                        socket,
                        record: None,
                    });
                }
            }
        }
        places.retain(|place| is_trusted_socket(&place.socket));
        places
    }
}

fn own_folder() -> PathBuf {
    if is_root() {
        return PathBuf::from(ROOT_FOLDER);
    }
    match env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from) {
        Some(folder) if folder.is_absolute() && folder.is_dir() => folder.join("director"),
        _ => env::temp_dir().join(format!("director-{}", user())),
    }
}

/// The user's own node goes before root's. Root's is nowhere else: what lies for root in the
/// temporary directory, somebody else has put there.
fn client_folders() -> Vec<PathBuf> {
    if is_root() {
        return vec![own_folder()];
    }
    let mut folders = vec![
        own_folder(),
        env::temp_dir().join(format!("director-{}", user())),
    ];
    folders.push(PathBuf::from(ROOT_FOLDER));
    folders.dedup();
    folders
}

fn root_folder(path: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o755).create(path) {
        Ok(()) => fs::set_permissions(path, fs::Permissions::from_mode(0o755)),
        Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {
            let about = fs::symlink_metadata(path)?;
            if about.is_dir() && about.uid() == 0 && about.mode() & 0o022 == 0 {
                return Ok(());
            }
            let text = format!(
                "`{}` is not a folder that only root may write",
                path.display()
            );
            Err(io::Error::new(io::ErrorKind::PermissionDenied, text))
        }
        Err(cause) => Err(cause),
    }
}

fn is_trusted_socket(path: &Path) -> bool {
    let is_ours = |about: fs::Metadata| {
        about.file_type().is_socket() && (about.uid() == 0 || about.uid() == user() || is_root())
    };
    fs::symlink_metadata(path).is_ok_and(is_ours)
}

fn process_lives(pid: u32) -> bool {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    // Not permitted to signal it is alive all the same.
    let answer = pid.map(rustix::process::test_kill_process);
    matches!(answer, Some(Ok(()) | Err(rustix::io::Errno::PERM)))
}

fn is_root() -> bool {
    user() == 0
}

fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

const ROOT_FOLDER: &str = "/run/director";
