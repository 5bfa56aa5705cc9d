/**
 * The version of what API processes and workers exchange: a job's Spec, requests to models, and what runs report. A job
 * records the version of the API process that made it, and goes to workers of that version or a newer one (ADR 0030).
 * CONTRIBUTING.md says when to raise it.
 */
export const SCHEMA_VERSION = 1;
