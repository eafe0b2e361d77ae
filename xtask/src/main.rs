//! Gates of the workspace.

fn main() {}
