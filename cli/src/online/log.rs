//! The internal log of a node in the background: one file, bounded, with the one before kept.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;

/// A file that is moved to `NAME.old` when it is full.
#[derive(Debug)]
pub(super) struct InternalLog {
    path: PathBuf,
    bytes_max: u64,
    file: File,
    bytes: u64,
}

impl InternalLog {
    pub(super) fn open(path: PathBuf, bytes_max: u64) -> io::Result<Self> {
        let file = append(&path)?;
        let bytes = file.metadata()?.len();
        Ok(Self {
            path,
            bytes_max,
            file,
            bytes,
        })
    }

    fn rotate(&mut self) -> io::Result<()> {
        let mut old = self.path.clone().into_os_string();
        old.push(".old");
        fs::rename(&self.path, old)?;
        self.file = append(&self.path)?;
        self.bytes = 0;
        Ok(())
    }
}

impl Write for InternalLog {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.bytes > 0 && self.bytes + line.len() as u64 > self.bytes_max {
            // A log that cannot be moved goes on growing rather than losing lines.
            let _kept = self.rotate();
        }
        let n_bytes = self.file.write(line)?;
        self.bytes += n_bytes as u64;
        Ok(n_bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn append(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_log_is_moved_aside_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let mut log = InternalLog::open(path.clone(), 10).unwrap();
        for line in ["12345\n", "67890\n", "abcdefghijklmnop\n", "x\n"] {
            log.write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "x\n");
        let old = fs::read_to_string(folder.path().join("a.log.old")).unwrap();
        assert_eq!(old, "abcdefghijklmnop\n");
    }
}
