//! Bits that flip in the files of an identity.

use std::fs;

use crate::agent::node::stamp;
use crate::cluster::identity::Identity;
use crate::directory::Directory;

#[test]
fn a_byte_that_is_no_text_any_more_names_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let state = Directory::at(folder.path()).state();
    let now = stamp();
    drop(Identity::open(&state, true, now).unwrap());
    let identity = state.identity().unwrap();
    for file in ["node.json", "node.key", "node.crt", "ca.crt", "ca.key"] {
        let path = identity.join(file);
        let whole = fs::read(&path).unwrap();
        for at in [0, whole.len() / 2, whole.len() - 2] {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x80;
            fs::write(&path, damaged).unwrap();
            let told = Identity::open(&state, false, now).unwrap_err().to_string();
            assert!(told.contains(file), "byte {at} of `{file}`: {told}");
        }
        fs::write(&path, whole).unwrap();
    }
}
