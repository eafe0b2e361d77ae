//! The package store: packages by content address, and their unpacked sources.
