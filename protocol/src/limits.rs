//! Bounds of everything that is read from another process, each with its reason.

/// Version of the frame header; the same for all versions of the protocol so far.
pub const HEADER_VERSION: u8 = 1;

/// Newest version of the protocol between a node and its clients and processes, and the one before,
/// which is spoken as well. 2: a hello names the oldest version of its sender, `status_request`.
pub const PROTOCOL_VERSION: u8 = 2;
/// Oldest version that this build speaks.
pub const PROTOCOL_VERSION_OLDEST: u8 = PROTOCOL_VERSION - 1;

/// Length of the header, its own length field included.
pub const HEADER_BYTES: usize = 112;

/// Longest frame: a 100 MB message must pass, four times that is a mistake or an attack.
pub const FRAME_BYTES_MAX: usize = 400 << 20;

/// Longest control document (JSON in a request, response or notice).
pub const CONTROL_BYTES_MAX: usize = 8 << 20;

/// Piece of an upload: large enough that a 200 MB package costs few wake-ups, small enough that
/// the agent's memory stays flat.
pub const UPLOAD_CHUNK_BYTES: usize = 256 << 10;

/// Messages that a sender may have on the way to one target before it waits for credit.
pub const CREDIT_MESSAGES: u32 = 4096;

/// Bytes that a sender may have on the way to one target before it waits for credit. One message
/// larger than that passes alone.
pub const CREDIT_BYTES: u64 = 4 << 20;

/// Bytes that the node sends to a worker ahead of what the worker took.
pub const WINDOW_BYTES: u64 = 1 << 20;

/// Bytes that a worker keeps in its own inbox while it waits in `send`.
pub const INBOX_BYTES_MAX: u64 = 64 << 20;

/// Dead letters kept for inspection on a node.
pub const DEAD_LETTERS_KEPT: usize = 1000;

/// Addresses that a worker may allot to its children before it asks for more.
pub const ALLOTMENT: u64 = 1 << 32;

/// Bytes that may wait for a role while a rollout holds it.
pub const HOLD_BYTES_MAX: u64 = 64 << 20;

/// Longest literal that a worker or client reads: the 1 MiB that may be written by hand, with room
/// for the escapes of its `repr`; the parser of Python needs many times the text's size.
pub const LITERAL_BYTES_MAX: usize = 8 << 20;

/// Longest framed document on a QUIC stream; packages go as bulk transfers, without frames.
pub const WIRE_DOCUMENT_BYTES_MAX: usize = 16 << 20;

/// Longest record that goes to a leader's log: a message is cut at 64 Ki characters before.
pub const WARNING_BYTES_MAX: usize = 512 << 10;

/// Records of a member in one request: a stream is worth it, and a leader's log process that is
/// busy takes it within seconds. Not less than one record may have.
pub const WARNINGS_BATCH_BYTES: usize = WARNING_BYTES_MAX;

/// Records that wait for a leader, some thousands: it may be an election away, or slow.
pub const WARNINGS_WAITING_BYTES_MAX: usize = 4 << 20;

/// Piece of the registry's stream to a follower: an acknowledgement waits behind one at most.
pub const STREAM_PART_BYTES: usize = 32 << 10;

/// Bytes of that stream under way to a follower: little enough that a link of 40 KB/s brings them,
/// and the acknowledgement behind them, within a lease.
pub const STREAM_WINDOW_BYTES: u64 = 128 << 10;

/// Wishes of one follower: many times what it can use, for anybody may ask it for what there is
/// not; the leader keeps them all.
pub const WISHES_MAX: usize = 50_000;

/// Orders of one node that the registry remembers, so that none is done twice: small loads one
/// after the other for twenty minutes fit, and a flood of them takes about 8 MB.
pub const ORDERS_KEPT_PER_NODE_MAX: usize = 32_768;

/// Orders that the registry remembers in all, beyond which a node has only its own small share:
/// four nodes that flood at once, some 30 MB in each snapshot.
pub const ORDERS_KEPT_MAX: usize = 131_072;

/// Orders of one node that are taken whatever all others have given: an hour's work of a person.
pub const ORDERS_OF_EACH_NODE: usize = 64;

/// Most uses of one join token: a fleet of the size planned for.
pub const TOKEN_USES_MAX: u32 = 100_000;

/// Longest life of a join token, a year: one in a drawer is one too many.
pub const TOKEN_TTL_MAX_MS: u64 = 365 * 24 * 3_600_000;

/// Longest document of that stream, which a follower has in memory: a registry far beyond the
/// 10,000 members and sources that are planned for.
pub const STREAM_DOCUMENT_BYTES_MAX: usize = 1 << 30;

/// Longest first document of a connection, read before the peer counts as authorised.
pub const HELLO_BYTES_MAX: usize = 4 << 10;

/// Piece of a bulk transfer that a provider reads and writes at a time: large enough that a
/// package of 200 MB costs few wake-ups, small enough that twenty getters fit in memory.
pub const TRANSFER_CHUNK_BYTES: usize = 1 << 20;
