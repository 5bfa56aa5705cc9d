/** The generated gRPC messages, service and client. `npm run generate` remakes them from proto/. */
export * from './gen/graft/worker/v1/worker.js';

/** Versions of the worker protocol this build speaks; a worker outside them is refused in words. */
export const PROTOCOL = { min: 2, max: 2 } as const;
/** Bytes per chunk when a blob travels. */
export const BLOB_CHUNK_BYTES = 256 * 1024;
