/**
 * Every bound of the wire format, with its reason. A length is checked against these before a byte is kept for it.
 * Pure constants: this file imports nothing.
 */

/** Versions of the protocol that this code speaks, both ends included. */
export const VERSION_MIN = 1;
export const VERSION_MAX = 1;

/** The port that a server listens on and a client dials unless told otherwise. */
export const DEFAULT_PORT = 23300;

export const GREETING_BYTES = 20;
export const HEADER_BYTES = 32;

const KIB = 1024;
const MIB = 1024 * KIB;

/**
 * The largest payload of a control frame. 4 MiB of empty msgpack maps become 256 MiB of objects; at 64 KiB the same
 * attack costs 4 MiB, which is what one connection may cost us.
 */
export const CONTROL_PAYLOAD_BYTES_MAX = 64 * KIB;

/** The same before a session is open: HELLO and ATTACH are a few hundred bytes at most. */
export const OPENING_PAYLOAD_BYTES_MAX = 4 * KIB;

/** What a page of a long list is filled up to, so that the envelope around its entries always fits as well. */
export const PAGE_BYTES = 48 * KIB;

/** Entries in one page: what a peer may make us check and keep for one frame, however small its entries are. */
export const PAGE_ENTRIES_MAX = 1024;

/** Chunks: small enough that one lost is cheap, large enough that a header, a CRC and an acknowledgement are nothing. */
export const CHUNK_BYTES_DEFAULT = MIB;
export const CHUNK_BYTES_MIN = 64 * KIB;
export const CHUNK_BYTES_MAX = 16 * MIB;
/** Chunk sizes are multiples of a page of memory and of a disk block. */
export const CHUNK_BYTES_STEP = 4 * KIB;

export const STREAMS_DEFAULT = 4;
/**
 * More than a user would ask for, where a client finds out how many pay: with a packet in a thousand lost and 100 ms there and
 * back 64 connections carry some 300 Mbit/s (Mathis et al. 1997).
 */
export const STREAMS_MAX = 128;

/**
 * Bytes that one stream may have unacknowledged. The kernel's default ceilings (tcp_wmem 4 MiB, tcp_rmem 6 MiB) hold
 * less, so this bounds what a lost connection costs without ever being what limits the rate.
 */
export const WINDOW_BYTES = 16 * MIB;

/**
 * Files of one transfer that are offered and not settled yet: what either end remembers, and, in the worst case, has
 * open. Systems still start programs with 1,024 descriptors.
 */
export const OPEN_FILES_MAX = 256;

/**
 * The same of everything that takes no descriptor while it is open: files that are sent whole, directories, links. Enough
 * that a long path and a slow disk don't make small files wait, and some megabytes in memory at most.
 */
export const OPEN_SMALL_MAX = 8192;

/**
 * Entries from the first that has no outcome on to the last that is offered: the sink keeps the outcomes of all behind that
 * first one, since the source may not have heard them. While a large file is under way so many small ones get past it.
 */
export const OFFERED_AHEAD_MAX = 32_768;

/**
 * Runs of neighbouring chunks that a sink has of the open files of a session, besides the first of each file. Every run may
 * need a page of CRCs to itself, half a KiB in all, and a peer that scatters chunks pays some 70 bytes for each. A source that gives
 * each stream a range to work through has no more runs than streams and chunks that were lost: a few hundred.
 */
export const RUNS_MAX = 4096;

/** Files in one BUNDLE: what is read, written and settled at once, so that nothing waits long behind it. */
export const BUNDLE_FILES_MAX = 256;

/** Linux: PATH_MAX is 4,096 with its NUL; every file system in use holds components of 255 bytes at most (NAME_MAX). */
export const NAME_BYTES_MAX = 4095;
export const COMPONENT_BYTES_MAX = 255;

/** Sizes and offsets are 64 bits on the wire, and at most 2^53 - 1: a JavaScript number holds them exactly. */
export const FILE_BYTES_MAX = Number.MAX_SAFE_INTEGER;

/** A session's id: 128 bits from the system's random source can't be guessed. */
export const SESSION_ID_BYTES = 16;

/** What a file of an interrupted transfer is known again by: a digest that nobody has to guess or to keep secret. */
export const RESUME_KEY_BYTES = 16;
/** Keys in a HELLO: as many as fit before a peer is known, with room for the rest. */
export const RESUME_KEYS_MAX = 64;

/** Chunks in one HAVE: four bytes each, half of what a control frame holds. */
export const HAVE_CHUNKS_MAX = 8192;

/**
 * Of a chunk's BLAKE3 digest, what HAVE carries: with the CRC-32 it tells contents apart that nobody made to be taken for
 * each other, and costs each end 16 bytes a chunk.
 */
export const CHUNK_DIGEST_BYTES = 16;
/** Chunks in one HAVE that carries digests: twenty bytes each. */
export const HAVE_DIGESTS_MAX = 2048;

/** BLAKE3's digest. */
export const DIGEST_BYTES = 32;

/** What a ticket is of. Its id is looked up and no secret; nobody guesses a token of 256 bits. */
export const TICKET_ID_BYTES = 8;
export const TICKET_PIN_BYTES = 32;
export const TICKET_TOKEN_BYTES = 32;
/** The longest name that DNS has (RFC 1035, 2.3.4, in its text form). */
export const TICKET_HOST_BYTES_MAX = 253;
/** HMAC-SHA256's. */
export const PROOF_BYTES = 32;

/** Text that a peer may make us show. */
export const TEXT_CHARS_MAX = 1024;

/** How often one chunk may arrive damaged before the path is called broken: 2^-32 each for a CRC to miss it. */
export const CHUNK_RESENDS_MAX = 16;

/** Names of ciphers for sealed streams in HELLO: two are known. */
export const SEALS_OFFERED_MAX = 8;

/**
 * What one record of a sealed stream holds at most: large enough that its keys and its tag cost little, small enough for what
 * a peer that never ends one can have us hold, which is in no other bound.
 */
export const SEALED_RECORD_BYTES_MAX = 256 * KIB;

/** The client's first record: its greeting and ATTACH. Until it is opened nobody knows that the client has the secret. */
export const SEALED_FIRST_RECORD_BYTES_MAX = GREETING_BYTES + HEADER_BYTES + OPENING_PAYLOAD_BYTES_MAX;

/**
 * Records under one key of a sealed stream, at most 16 GiB: 2^30 blocks of AES, far below the 2^34.5 at which AES-GCM loses a
 * little of its strength (RFC 8446, 5.5).
 */
export const SEALED_RECORDS_PER_KEY = 65_536;

/** How far behind the highest a number of a sealed connection may come: more dials than this are not under way at once. */
export const SEALED_NUMBERS_WINDOW = 1024;
