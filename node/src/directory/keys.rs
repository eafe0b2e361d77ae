//! The `*_tls.key` files of a directory, read afresh at each verification.
//!
//! Whoever may write a key decides what runs here, so a directory that everybody may write is
//! refused whole, and a file is passed over (and named) when others may have written it.
//! Links are followed only inside the directory's mount and to its owner's files: Kubernetes
//! mounts secrets as links. Owner, mode and mount are those of the opened file, not of its name.
//! Not here: what is inside the files (`package::KeyRing`).

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, OFlags, StatxFlags};

use super::place::{Directory, DirectoryError};

/// The key files that may be trusted, and those that may not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyFiles {
    /// Full path and content of each, in the order of their names.
    pub files: Vec<(String, Vec<u8>)>,
    /// The ones passed over.
    pub refused: Vec<RefusedKey>,
}

impl Directory {
    /// Reads the key files as they are now.
    ///
    /// # Errors
    /// When the directory cannot be listed, or everybody may write it.
    pub fn key_files(&self) -> Result<KeyFiles, KeyFilesError> {
        let folder = File::open(self.path()).map_err(|cause| self.fault(cause))?;
        let names = self.names_ending_with("_tls.key")?;
        let about = folder.metadata().map_err(|cause| self.fault(cause))?;
        if is_world_writable(&about) {
            return Err(KeyFilesError::WorldWritable {
                path: self.path().to_owned(),
            });
        }
        let place = Place {
            owner: about.uid(),
            mount: mount_of(&folder, &about),
        };
        let mut keys = KeyFiles::default();
        for name in names {
            let path = self.file(&name);
            match place.read(&path) {
                Ok(content) => keys
                    .files
                    .push((path.to_string_lossy().into_owned(), content)),
                Err(refusal) => keys.refused.push(RefusedKey { path, refusal }),
            }
        }
        Ok(keys)
    }
}

/// Why no key can be read.
#[derive(Debug, thiserror::Error)]
pub enum KeyFilesError {
    /// The directory cannot be listed.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// Everybody could put a key there.
    #[error("the Director directory `{path}` is writable by everybody", path = .path.display())]
    WorldWritable {
        /// Its path.
        path: PathBuf,
    },
}

impl KeyFilesError {
    /// The next step to take.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Directory(error) => error.hint(),
            Self::WorldWritable { path } => format!(
                "no key in it is trusted until its mode is tightened: `chmod o-w {}`",
                path.display()
            ),
        }
    }
}

/// One key file that is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("key file `{path}` is not used: {refusal}", path = .path.display())]
pub struct RefusedKey {
    /// Its path.
    pub path: PathBuf,
    /// Why.
    pub refusal: KeyRefusal,
}

/// Why a key file is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyRefusal {
    /// The system does not let it be read.
    #[error("{cause}")]
    Unreadable {
        /// What the system said.
        cause: String,
    },
    /// It is a folder, a pipe or a device.
    #[error("it is no plain file")]
    NotAFile,
    /// Everybody could have written it.
    #[error("everybody may write it; `chmod o-w` it if its content is right")]
    WorldWritable,
    /// Somebody else could have written it.
    #[error("it belongs to user {owner}, not to root or the directory's owner {wanted}")]
    Owner {
        /// Its owner.
        owner: u32,
        /// The directory's owner.
        wanted: u32,
    },
    /// Its link leads out of the directory's mount.
    #[error("its link leads to another mount; copy the file instead")]
    OtherMount,
    /// It is too large for a key.
    #[error("it has more than {bytes_max} bytes, which no key has")]
    TooLarge {
        /// The bound.
        bytes_max: u64,
    },
}

impl From<io::Error> for KeyRefusal {
    fn from(cause: io::Error) -> Self {
        Self::Unreadable {
            cause: cause.to_string(),
        }
    }
}

/// What the directory's own keys share with it.
struct Place {
    owner: u32,
    mount: u64,
}

impl Place {
    fn read(&self, path: &Path) -> Result<Vec<u8>, KeyRefusal> {
        self.check_owner(&fs::symlink_metadata(path)?)?;
        // Without O_NONBLOCK a pipe of that name would hold up every verification.
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(path)?;
        let about = file.metadata()?;
        if !about.is_file() {
            return Err(KeyRefusal::NotAFile);
        }
        self.check_owner(&about)?;
        if is_world_writable(&about) {
            return Err(KeyRefusal::WorldWritable);
        }
        if mount_of(&file, &about) != self.mount {
            return Err(KeyRefusal::OtherMount);
        }
        let mut content = Vec::new();
        file.take(KEY_BYTES_MAX + 1).read_to_end(&mut content)?;
        if content.len() as u64 > KEY_BYTES_MAX {
            return Err(KeyRefusal::TooLarge {
                bytes_max: KEY_BYTES_MAX,
            });
        }
        Ok(content)
    }

    fn check_owner(&self, about: &Metadata) -> Result<(), KeyRefusal> {
        if about.uid() == 0 || about.uid() == self.owner {
            Ok(())
        } else {
            Err(KeyRefusal::Owner {
                owner: about.uid(),
                wanted: self.owner,
            })
        }
    }
}

fn is_world_writable(about: &Metadata) -> bool {
    about.mode() & 0o002 != 0
}

/// The id of the mount, by a kernel that tells it (5.8), else of the file system.
fn mount_of(file: &impl AsFd, about: &Metadata) -> u64 {
    let wanted = StatxFlags::MNT_ID;
    match rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, wanted) {
        Ok(answer) if answer.stx_mask & wanted.bits() != 0 => answer.stx_mnt_id,
        _ => about.dev(),
    }
}

/// A file of many keys, and far less than a mistake such as a package with that name.
const KEY_BYTES_MAX: u64 = 1024 * 1024;
