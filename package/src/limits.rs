//! What a package may cost its reader: sizes, counts and the ratio of compression.
//!
//! Checked before anything is allocated or written, and again while data flows.

/// Upper bounds for reading a package; the default suits packages up to 1 GiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest package file, in bytes.
    pub package_bytes_max: u64,
    /// Largest sum of the members' unpacked sizes, in bytes.
    pub unpacked_bytes_max: u64,
    /// Largest ratio of all unpacked bytes to all packed bytes.
    pub ratio_max: u64,
    /// Unpacked bytes up to which the ratio does not matter: a small file of zeros is no bomb.
    pub ratio_free_bytes: u64,
    /// Most members.
    pub members_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            package_bytes_max: 1 << 30,
            unpacked_bytes_max: 4 << 30,
            ratio_max: 200,
            ratio_free_bytes: 1 << 20,
            members_max: 100_000,
        }
    }
}

/// Longest member name: what Linux and macOS can open as a relative path, with room to spare.
pub(crate) const NAME_BYTES_MAX: usize = 1024;

/// Buffer of every streaming pass: large enough that system calls do not show.
pub(crate) const BUFFER_BYTES: usize = 256 * 1024;
