#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod id;
pub use id::{
    ActorId, ConventionId, IdError, Incarnation, NodeId, ProgramId, RequestId, RoleId, RolloutId,
    SlotId, SourceHash, Stamp, TraceId,
};

pub mod limits;

mod header;
pub use header::{Flags, FrameKind, Header, HeaderError, PayloadKind, TargetKind};

mod frame;
pub use frame::{CreditPayload, Frame, FrameError, FrameReader, PathSwitchPayload, WindowPayload};

pub mod control;
pub mod definition;
pub mod link;
pub use definition::GroupDefinition;

pub mod registry;

pub mod peer;
pub mod view;
pub mod wire;

mod codec;
pub use codec::{CodecError, decode, encode};
