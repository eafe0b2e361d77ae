//! The README's three nodes, as it says: its own lines, run by the shell.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The nodes of a folder, stopped when the test ends, however it ends.
struct Folder(tempfile::TempDir);

impl Folder {
    fn nodes(&self) -> impl Iterator<Item = PathBuf> {
        let folder = self.0.path().to_owned();
        (1..=3).map(move |n| folder.join(format!("node{n}")))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        for node in self.nodes() {
            let _stopped = Command::new(cluster::director())
                .arg("shutdown")
                .env("THESPIAN_DIRECTOR_DIR", node)
                .output();
        }
    }
}

#[test]
fn three_nodes_come_together_by_the_lines_of_the_readme() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = fs::read_to_string(readme).unwrap();
    let (_, section) = readme.split_once("## Three nodes").unwrap();
    let (_, block) = section.split_once("```bash\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    assert!(block.lines().count() < 10, "{block}");
    // Ports of this run alone, in the place of 1901 to 1903.
    let block = block.replace("190", &(1_000 + std::process::id() % 2_000).to_string());

    let folder = Folder(tempfile::tempdir().unwrap());
    let path = folder.0.path();
    let main = "from thespian.actors import *\n\n\nclass Foo(ActorTypeDispatcher):\n    \
                def receiveMsg_str(self, message, sender):\n        \
                self.send(sender, message + ' to you')\n";
    fs::create_dir_all(path.join("src/foo")).unwrap();
    fs::write(path.join("src/foo/__init__.py"), "").unwrap();
    fs::write(path.join("src/foo/main.py"), main).unwrap();
    let tli = "{'Actors': {'foo.main.Foo': {'OnLoad': {'Role': 'MainFoo'}}}}\n";
    fs::write(path.join("src/foo.tli"), tli).unwrap();
    let programs = path.join("bin");
    fs::create_dir(&programs).unwrap();
    std::os::unix::fs::symlink(cluster::director(), programs.join("director")).unwrap();
    let paths = std::env::var("PATH").unwrap();
    let script = format!("director keygen release --bits 2048\n{block}");
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &script])
        .current_dir(path)
        .env("PATH", format!("{}:{paths}", programs.display()))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let beside = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}\n{beside}");
    assert!(said.contains("'hello to you'\n"), "{said}\n{beside}");
    let members = said.lines().filter(|line| line.contains("  up  ")).count();
    assert_eq!(members, 3, "{said}");
}
