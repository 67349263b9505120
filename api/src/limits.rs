//! The bounds of what a message may carry. A message above one of them is refused as malformed.

/// Most bytes of one message from a client.
pub const CLIENT_MESSAGE_BYTES_MAX: usize = 4 * 1024;
/// Most bytes of one message from the gate: 32 addresses, 64 modes or 1,024 scores fit.
pub const GATE_MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Most bytes of UTF-8 in a player's name.
pub const NAME_BYTES_MAX: usize = 32;
/// Most bytes of UTF-8 in a password.
pub const PASSWORD_BYTES_MAX: usize = 128;
/// Most bytes of UTF-8 in the name and version that a program gives of itself.
pub const PROGRAM_BYTES_MAX: usize = 64;
/// Most bytes of a mode's name.
pub const MODE_BYTES_MAX: usize = 32;
/// Most bytes of a session token, base64 included.
pub const SESSION_BYTES_MAX: usize = 256;
/// Most bytes of a sentence for people.
pub const SENTENCE_BYTES_MAX: usize = 200;
/// Most modes a gate lists.
pub const MODES_MAX: usize = 64;
/// Most addresses of a node in one answer.
pub const ADDRESSES_MAX: usize = 32;
/// Most bytes of one address as text: a bracketed IPv6 address with scope and port fits.
pub const ADDRESS_BYTES_MAX: usize = 64;
/// Most bytes of a battle token (it has 256; the rest is room for a later version).
pub const TOKEN_BYTES_MAX: usize = 512;
/// Bytes of the session secret that comes with a battle token.
pub const SECRET_BYTES_MAX: usize = 32;
/// Bytes of a protocol hash.
pub const PROTOCOL_HASH_BYTES: usize = 16;
/// Most scores in a result: one a seat of the largest battle.
pub const SCORES_MAX: usize = 1024;
