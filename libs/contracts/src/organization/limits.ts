// Limits nest from the inside out, so that what one layer lets in always fits into the next.
/** What a user's own values (the messages of a chat, a prompt, a job's settings) may take as JSON on their way to a trainer. */
export const MAX_ORDER_BYTES = 960 * 1024;
/** A JSON body as the API reads it: more than it takes, so that it can say in words what is too large. */
export const MAX_BODY_BYTES = 4 * 1024 * 1024;
/** Inputs with pictures and sounds in them, as JSON on their way to a trainer: what a body holds, each in its record. */
export const MAX_MEDIA_ORDER_BYTES = MAX_BODY_BYTES + MAX_ORDER_BYTES;
/** Of a picture or a sound that is asked about as a file: it goes to the worker in pieces, beside its question. */
export const MAX_ASKED_MEDIA_BYTES = 25 * 1024 * 1024;
/** Of a picture or a sound in an archive: in base64 it takes a third more, and shares its line with text. */
export const MAX_MEDIA_BYTES = 11 * 1024 * 1024;
/** A JSON frame of a trainer's to its agent: a fact. */
export const MAX_FRAME_BYTES = 1024 * 1024;
/** A JSON frame of an agent's to its trainer: an order and what the agent adds to it, paths above all. */
export const MAX_COMMAND_BYTES = MAX_MEDIA_ORDER_BYTES + 64 * 1024;
/** A gRPC message of a worker's to the API, */
export const MAX_MESSAGE_BYTES = 4 * 1024 * 1024;
/** and of the API's to a worker. */
export const MAX_DOWN_BYTES = MAX_COMMAND_BYTES + 1024 * 1024;
/** A FindDeletedBlobs request names at most so many blobs. */
export const MAX_BLOB_NAMES = 1000;

/** Of a line of a training file, its newline and the pictures and sounds in it (data URLs) not counted. */
export const MAX_LINE_BYTES = 1_048_576;
/** The same with them. */
export const MAX_MEDIA_LINE_BYTES = 16 * 1_048_576;
/** Of an archive of training data, folders counted. */
export const MAX_ARCHIVE_FILES = 200_000;
