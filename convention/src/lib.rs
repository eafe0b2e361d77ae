#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod registry;
pub use registry::Registry;

mod placement;
pub use placement::{Loads, is_drained, is_each, is_open, open_members, places, why_nowhere};

mod presence;
pub use presence::{Difference, difference, placed};

mod resolve;
pub use resolve::{RoleStanding, Standing, find_name, find_role, name_standing, role_standings};

mod restart;
pub use restart::{RESTART_WINDOW_MS, RESTARTS_MAX};

mod work;
pub use work::{Work, next_moment, work};

mod voters;
pub use voters::{Electorate, GRACE_MS, VoterChange, VoterSettings, Willing, next_change};

mod view;
pub use view::{Ledger, Next, Told, Viewer, project, take_in};
