//! The Director directory: its `.cfg` files, its `state/` folder, where a node's socket lies.
