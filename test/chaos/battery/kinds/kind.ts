// Kinds of load other than training. Each is a file in this folder that puts load on the cluster and checks
// the results.
import { call, type Answer, type CallOptions } from '../call.js';
import type { Violation } from '../checker.js';
import type { Cluster } from '../cluster.js';
import type { Random } from '../random.js';

/** Resources of a kind. */
export interface Place {
  readonly cluster: Cluster;
  readonly random: Random;
  /** Base model and training file for jobs. */
  readonly training: { readonly model: string; readonly file: string };
  /** Adapters of the control runs. */
  readonly adapters: readonly string[];
}

export interface Kind {
  readonly name: string;
  /** Starts servers that the API connects to. @returns settings of the API processes */
  configure?(): Promise<object>;
  /** Called when the first models and files exist, before jobs are created and faults injected. */
  listen?(place: Place): Promise<void>;
  /** Called before faults are injected, for example to record results without faults. */
  begin?(place: Place): Promise<void>;
  /** Sends one request of this kind. */
  act?(place: Place): Promise<void>;
  /** Ends the faults of this kind. Called when the other faults have ended. */
  heal?(): void;
  /** Names of what has not ended. */
  open(place: Place): Promise<readonly string[]>;
  /** Checks the results when everything has ended, while the API still responds. */
  look(place: Place): Promise<Violation[]>;
  /** Counts for the report. */
  counts(): Readonly<Record<string, number>>;
  close?(): Promise<void>;
}

/**
 * Maximum number of tries. With the pauses between them, they take longer than the restart of an API process.
 */
export const TRIES = 30;

export const ask = <Body = Answer>(
  { cluster, random }: Place,
  request: CallOptions,
): Promise<Body> => call<Body>(cluster, random, request);

export const post = <Body = Answer>(place: Place, path: string, body: object): Promise<Body> =>
  ask<Body>(place, { method: 'POST', path, body });

/** Whether the API rejected the request. For all other errors, the outcome is unknown. */
export const isRefusal = (error: unknown): boolean => {
  const { status } = error as { status?: number };
  return status !== undefined && status >= 400 && status < 500;
};

/**
 * Retries a request until its outcome is known, as clients do. The request must have a key or be idempotent.
 * @returns null if there was never a response
 * @throws Error if the API rejected the request
 */
export async function insist<Body = Answer>(
  place: Place,
  request: CallOptions,
): Promise<Body | null> {
  for (let n = 0; n < TRIES; n++) {
    try {
      return await ask<Body>(place, request);
    } catch (error) {
      if (isRefusal(error)) throw error;
    }
    await pause(500);
  }
  return null;
}

export const pause = (ms: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, ms));
