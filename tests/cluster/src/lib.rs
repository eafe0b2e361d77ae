#![doc = include_str!("../README.md")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a harness is test code: what it did not expect ends the test"
)]

mod name;
pub use name::{A, B, C, D, E, Node};

mod op;
pub use op::Op;

mod condition;
pub use condition::{Condition, Seen, answers};

mod scene;
pub use scene::{Plan, Scene};

mod play;

mod traffic;
pub use traffic::Traffic;

mod ledger;
pub use ledger::{Account, End, Entry};

mod application;
pub use application::{Application, foreign_key, foreign_pair};

mod life;
pub use life::Life;

mod moment;
pub use moment::Moment;

mod process;

mod net;

mod hosts;

mod nat;

mod disk;

mod clock;
pub use clock::Clock;

mod watchdog;

mod ran;
pub use ran::Ran;

mod program;
pub use program::director;

mod release;
pub use release::Release;

mod timeline;

mod block;
pub use block::Block;

mod followers;
pub use followers::{Asked, Counted, Followers};

mod usage;
pub use usage::Usage;

mod relay;
pub use relay::{Passed, Relay, Sky, Weather, Whereabouts};
