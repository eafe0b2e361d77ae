//! A small disk under a node's Director directory, so that it can be full.
//!
//! A tmpfs in a mount namespace of the test's own thread and of all that comes from it: nothing of
//! it is seen elsewhere, and nothing is left when they have ended. Needs root.

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use crate::name::Node;
use crate::scene::{Plan, Scene};

/// A mounted disk; dropped, it is gone with all that is on it.
#[derive(Debug)]
pub(crate) struct Disk {
    at: PathBuf,
}

impl Disk {
    /// Mounts a disk of so many bytes at a folder.
    ///
    /// # Errors
    /// What the system does not allow, for people.
    pub(crate) fn mount(at: &Path, bytes: usize) -> Result<Self, String> {
        let refused = |what: &str, cause| format!("{what}: {cause}");
        if !APART.get() {
            unshare(CloneFlags::CLONE_NEWNS).map_err(|it| refused("a mount namespace", it))?;
            let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
            let apart = mount(None::<&str>, "/", None::<&str>, flags, None::<&str>);
            apart.map_err(|it| refused("mounts of its own", it))?;
            APART.set(true);
        }
        let options = format!("size={bytes},mode=755");
        let kind = Some("tmpfs");
        let mounted = mount(kind, at, kind, MsFlags::empty(), Some(options.as_str()));
        mounted.map_err(|it| refused("a tmpfs", it))?;
        Ok(Self { at: at.to_owned() })
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _gone = umount2(&self.at, MntFlags::MNT_DETACH);
    }
}

thread_local! {
    /// Whether this thread has mounts of its own.
    static APART: Cell<bool> = const { Cell::new(false) };
}

impl Scene {
    /// As planned, with each node's Director directory on a disk of so many bytes; `None`, and a
    /// word on stderr, where there can be none.
    #[must_use]
    pub fn on_small_disks(plan: Plan, bytes: usize) -> Option<Self> {
        let disks_bytes = Some(bytes);
        match Self::try_set(Plan {
            disks_bytes,
            ..plan
        }) {
            Ok(scene) => Some(scene),
            Err(reason) => {
                eprintln!("skipped: this process may mount nothing: {reason}");
                None
            }
        }
    }

    /// Leaves no byte free on a node's disk.
    ///
    /// # Panics
    /// When the disk has no end, or fails otherwise.
    pub fn fill(&self, node: Node) {
        let mut file = File::create(self.ballast(node)).unwrap();
        for block in [1 << 16, 1 << 12, 1] {
            let block = vec![0; block];
            let full = loop {
                if let Err(cause) = file.write_all(&block) {
                    break cause;
                }
            };
            assert_eq!(full.kind(), io::ErrorKind::StorageFull, "{full}");
        }
        self.phase(&format!("the disk of {node} is full"));
    }

    /// Frees what [`Scene::fill`] took.
    ///
    /// # Panics
    /// When the disk was not filled.
    pub fn make_room(&self, node: Node) {
        fs::remove_file(self.ballast(node)).unwrap();
        self.phase(&format!("the disk of {node} has room"));
    }

    fn ballast(&self, node: Node) -> PathBuf {
        self.directory(node).join("ballast")
    }
}
