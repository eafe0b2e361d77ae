//! Worker hosting: interpreters, forkservers and the processes of actors.
//!
//! Read in this order; `handle` is what the agent talks to.
//! Not here: who decides that an actor is wanted (`agent`), the connections of workers
//! (`router`).

mod handle;
pub use handle::{
    Ends, Hosting, HostingConfig, OriginSetup, PrepareRequest, Prepared, WorkerEnded,
};

mod interpreter;
pub use interpreter::{Interpreter, InterpreterError, PythonRelease, PythonVersion, resolve};

mod policy;
pub use policy::{NoPython, PythonConfig, PythonPolicy};

mod runtime;
pub use runtime::{Runtime, RuntimeError};

mod tags;
pub use tags::{RequiredTags, WrongTag};

mod unpacked;
pub use unpacked::{UnpackError, UnpackedSource, folder_of, remove_unpacked, unpack, unpack_plain};

mod environment;
pub use environment::WorkerEnvironment;

mod bounded_run;
mod dump;
pub use dump::DumpError;

mod forkservers;
mod link;
mod root;
mod spawner;
mod worker;
mod workers;

mod lines;
mod output;

mod process;
mod resources;
