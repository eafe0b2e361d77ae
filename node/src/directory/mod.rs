//! The Director directory: its `.cfg` files, its `state/` folder, where a node's socket lies.

mod place;
pub use place::{Directory, DirectoryError};

mod settings;
pub use settings::{Settings, SettingsRead, SettingsWarning, variables};

mod cfg;
pub use cfg::{CfgFault, SettingsError};

mod kinds;
pub use kinds::{EnvironmentEntry, LeaderAddress};

mod keys;
pub use keys::{KeyFiles, KeyFilesError, KeyRefusal, RefusedKey};

mod packages;
pub use packages::{GroupFiles, KeepError, Listing, PackageFile};

mod state;
pub use state::{NodeRecord, RecordError, StateFolder};

mod sockets;
pub use sockets::{
    NodePlace, log_socket_path, relay_socket_path, runtime_folder, socket_path, worker_socket_path,
};
