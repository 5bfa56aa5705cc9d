// Answers of Graft's own endpoints, beside OpenAI's.
import type { DataReport } from './openai.js';

/** POST /v1/fine_tuning/jobs/preview: what a create call would do, with every "auto" resolved. Creates nothing. */
export interface JobPreviewObject {
  readonly object: 'graft.job_preview';
  readonly model: string;
  readonly hyperparameters: {
    readonly batch_size: number;
    readonly n_epochs: number;
    readonly learning_rate_multiplier: number | 'auto';
  };
  /** PEFT's config and Graft's options, resolved. */
  readonly peft: Readonly<Record<string, unknown>> | null;
  readonly graft: Readonly<Record<string, unknown>>;
  readonly examples: number;
  /** Optimiser steps in all, and tokens that they see in all (estimated where the data report is sampled). */
  readonly steps: number;
  readonly tokens: number;
  /** Seconds of training, from measured speeds; null where nothing like it has run yet. */
  readonly seconds: number | null;
  /** What the time is taken from, in words. */
  readonly seconds_from: string | null;
  readonly trainable_parameters: number | null;
  readonly total_parameters: number | null;
  readonly training: DataReport;
  readonly validation: DataReport | null;
  /** A sentence each, for people. */
  readonly warnings: readonly string[];
}

/** GET /v1/files/{id}/records: a line of a training file that is not blank. */
export interface FileRecordObject {
  readonly line: number;
  /** null where it cannot be used. */
  readonly record: Readonly<Record<string, unknown>> | null;
  /** Why it cannot be used, and how it begins. */
  readonly problem: string | null;
  readonly text: string | null;
}

/** GET /v1/workers */
export interface WorkerObject {
  readonly object: 'graft.worker';
  readonly id: string;
  readonly name: string;
  readonly pool: string;
  readonly state: 'online' | 'draining' | 'offline';
  readonly connected_at: number;
  readonly last_seen_at: number;
  readonly slots: number;
  readonly free_slots: number;
  readonly devices: readonly string[];
  readonly memory_bytes: number;
  readonly rss_bytes: number | null;
  readonly resident_bases: readonly string[];
  readonly libtorch: string;
  readonly jobs: readonly { readonly id: string; readonly epoch: number; readonly step: number }[];
}

/** GET /v1/overview: the status strip. */
export interface OverviewObject {
  readonly object: 'graft.overview';
  readonly version: string;
  readonly queue_backend: 'redis' | 'postgres';
  readonly jobs: Readonly<Record<string, number>>;
  readonly failed_24h: number;
  readonly workers_online: number;
  readonly slots: number;
  readonly slots_busy: number;
  readonly gateway: GatewayObject;
}

/** Where workers join. */
export interface GatewayObject {
  /**
   * grpc://HOST:PORT, or grpcs:// with TLS: for workers elsewhere, or for those on the API's own host where it
   * listens there only. HOST is the certificate's name, else the address it listens on, else the host's name.
   */
  readonly url: string;
  readonly tls: boolean;
  /** Whether workers on other hosts reach it at all. */
  readonly listens_beyond_host: boolean;
}

/** GET /v1/fine_tuning/jobs/{id}/metrics: columns of equal length, newest epoch per step. */
export interface MetricsObject {
  readonly object: 'graft.metrics';
  readonly steps: readonly number[];
  /** loss, learning_rate, grad_norm, tokens_per_second, accuracy; null where not finite. */
  readonly series: Readonly<Record<string, readonly (number | null)[]>>;
  readonly evaluations: readonly {
    readonly step: number;
    readonly loss: number | null;
    readonly accuracy: number | null;
  }[];
  /** Steps at which another attempt took over, and saved checkpoints. */
  readonly marks: readonly { readonly step: number; readonly kind: 'attempt' | 'checkpoint' }[];
}

/**
 * Data of the SSE events on GET /v1/fine_tuning/jobs/{id}/stream (`event:` is the kind; `id:` is the
 * job's event number, accepted back as Last-Event-ID).
 *  job     → JobObject (state, phase or progress changed)
 *  event   → JobEventObject
 *  metrics → { step, loss, learning_rate, grad_norm, tokens_per_second, accuracy }
 *  reset   → {}: the id is beyond the last event (a restored database); everything comes again
 * GET /v1/stream carries `job` events of the whole project, after a first `ready` → {} with an id to come back with.
 */
export type StreamKind = 'job' | 'event' | 'metrics' | 'reset' | 'ready';

/** GET /v1/keys and POST /v1/keys (the secret is shown once). */
export interface ApiKeyObject {
  readonly object: 'graft.api_key';
  readonly id: string;
  readonly name: string;
  readonly scopes: readonly string[];
  readonly created_at: number;
  readonly last_used_at: number | null;
  readonly expires_at: number | null;
  readonly secret?: string;
}

/** What lets a worker join; `secret` only when it is made. */
export interface JoinTokenObject {
  readonly object: 'graft.join_token';
  readonly id: string;
  readonly name: string;
  /** The only pool it opens; null: any. */
  readonly pool: string | null;
  readonly created_at: number;
  readonly expires_at: number | null;
  readonly secret?: string;
}

/** What a key may do with its own project, and what it has unless it says otherwise. */
export const PROJECT_SCOPES = [
  'jobs:read',
  'jobs:write',
  'files:read',
  'files:write',
  'models:read',
  'models:write',
] as const;
/** `metrics:read` is for Prometheus and shows the whole installation; `admin` has them all. */
export const SCOPES = [...PROJECT_SCOPES, 'metrics:read', 'admin'] as const;
export type Scope = (typeof SCOPES)[number];
