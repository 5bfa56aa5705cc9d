// Size limits in bytes. Each layer accepts everything that the previous layer lets through.

/** Maximum size of a user's values (chat messages, a prompt, job settings) as JSON sent to a trainer. */
export const MAX_ORDER_BYTES = 960 * 1024;
/** Maximum size of a JSON body that the API reads. It exceeds MAX_ORDER_BYTES, so that an error can name the field. */
export const MAX_BODY_BYTES = 4 * 1024 * 1024;
/** Maximum size of inputs with images and audio as JSON sent to a trainer: a whole body, with a record around each input. */
export const MAX_MEDIA_ORDER_BYTES = MAX_BODY_BYTES + MAX_ORDER_BYTES;
/** Maximum size of an image or audio file of a request. It is sent to the worker in chunks, separate from the JSON. */
export const MAX_REQUEST_MEDIA_BYTES = 25 * 1024 * 1024;
/** Maximum size of an image or audio file in an archive. Base64 adds a third, and the file shares its line with text. */
export const MAX_MEDIA_BYTES = 11 * 1024 * 1024;
/** Maximum size of a JSON frame (a fact) from a trainer to its agent. */
export const MAX_FRAME_BYTES = 1024 * 1024;
/** Maximum size of a JSON frame (a command) from an agent to its trainer: the user's values plus paths. */
export const MAX_COMMAND_BYTES = MAX_MEDIA_ORDER_BYTES + 64 * 1024;
/** Maximum size of a gRPC message from a worker to the API. */
export const MAX_MESSAGE_BYTES = 4 * 1024 * 1024;
/** Maximum size of a gRPC message from the API to a worker. */
export const MAX_DOWN_BYTES = MAX_COMMAND_BYTES + 1024 * 1024;
/** Maximum number of blobs that a FindDeletedBlobs request names. */
export const MAX_BLOB_NAMES = 1000;

/** Maximum size of a line of a training file, without its newline and its images and audio (data URLs). */
export const MAX_LINE_BYTES = 1_048_576;
/** Maximum size of a line of a training file, including its images and audio. */
export const MAX_MEDIA_LINE_BYTES = 16 * 1_048_576;
/** Maximum number of entries, files and folders, in an archive of training data. */
export const MAX_ARCHIVE_FILES = 200_000;
