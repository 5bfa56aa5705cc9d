/**
 * Version of the messages between API processes and workers: a job's Spec, requests to models, and run events. A job
 * records the version of the API process that created it, and is assigned to workers of that version or newer (ADR 0030).
 * CONTRIBUTING.md explains when to raise it.
 */
export const SCHEMA_VERSION = 1;
