// What the battery does beside training: each kind is a file here that loads the cluster and judges what came of it.
import { call, type Answer, type Asked } from '../call.js';
import type { Violation } from '../checker.js';
import type { Cluster } from '../cluster.js';
import type { Random } from '../random.js';

/** What a kind works with. */
export interface Place {
  readonly cluster: Cluster;
  readonly random: Random;
  /** Files that jobs of the load train on, and the model that they train. */
  readonly training: { readonly model: string; readonly file: string };
  /** Adapters that runs without faults made. */
  readonly adapters: readonly string[];
}

export interface Kind {
  readonly name: string;
  /** Opens what the API talks to. @returns settings of the API processes */
  configure?(): Promise<object>;
  /** After the first models and files are there, before jobs are made and faults injected. */
  listen?(place: Place): Promise<void>;
  /** Before faults are injected: also what runs without faults come to. */
  begin?(place: Place): Promise<void>;
  /** Loads the cluster with one more of its kind. */
  act?(place: Place): Promise<void>;
  /** The faults are over, and those of its own are, too. */
  heal?(): void;
  /** What is not over yet. */
  open(place: Place): Promise<readonly string[]>;
  /** Once everything is over, while the API still answers. */
  look(place: Place): Promise<Violation[]>;
  /** How much there was, for the report. */
  counts(): Readonly<Record<string, number>>;
  close?(): Promise<void>;
}

/** Longer than an API process takes to come back. */
export const TRIES = 30;

export const ask = <Body = Answer>({ cluster, random }: Place, asked: Asked): Promise<Body> =>
  call<Body>(cluster, random, asked);

export const post = <Body = Answer>(place: Place, path: string, body: object): Promise<Body> =>
  ask<Body>(place, { method: 'POST', path, body });

/** Whether the API itself said no; else nobody knows whether it was done. */
export const isRefusal = (error: unknown): boolean => {
  const { status } = error as { status?: number };
  return status !== undefined && status >= 400 && status < 500;
};

/**
 * Asks again while nobody knows whether it was done, as clients do. What is asked has a key, or may be done twice.
 * @returns null where it was never answered
 * @throws Error of a refusal
 */
export async function insist<Body = Answer>(place: Place, asked: Asked): Promise<Body | null> {
  for (let n = 0; n < TRIES; n++) {
    try {
      return await ask<Body>(place, asked);
    } catch (error) {
      if (isRefusal(error)) throw error;
    }
    await pause(500);
  }
  return null;
}

export const pause = (ms: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, ms));
