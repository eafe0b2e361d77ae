//! What `gensrc` does, step by step; the user's code is never run.

mod sources;
pub(crate) use sources::{Sources, choose};

mod dependencies;
pub(crate) use dependencies::{Collected, Distribution, collect};

mod members;
pub(crate) use members::Members;

mod compile;
pub(crate) use compile::check;

mod definition;
pub(crate) use definition::{Definition, find as find_definition};

mod writing;
pub(crate) use writing::write;
