//! The name of a node in a scenario.

use std::fmt;

/// A node by its place in the scenario: `a`, `b`, ... `z`, then `n26`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node(pub usize);

/// The first node.
pub const A: Node = Node(0);
/// The second node.
pub const B: Node = Node(1);
/// The third node.
pub const C: Node = Node(2);
/// The fourth node.
pub const D: Node = Node(3);
/// The fifth node.
pub const E: Node = Node(4);

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match u8::try_from(self.0) {
            Ok(index) if index < 26 => write!(f, "{}", char::from(b'a' + index)),
            _ => write!(f, "n{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_letters_first() {
        let names: Vec<_> = [0, 25, 26].map(|index| Node(index).to_string()).into();
        assert_eq!(names, ["a", "z", "n26"]);
    }
}
