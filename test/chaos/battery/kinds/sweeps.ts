// Sweeps of two or three trials.
import { randomUUID } from 'node:crypto';
import type { SweepObject } from '@graft/contracts';
import type { Violation } from '../checker.js';
import { ask, insist, type Kind, type Place } from './kind.js';

const RATES = [0.02, 0.01, 0.001];
const STEPS = 12;

interface Trial {
  readonly job: string;
  readonly number: number;
  readonly state: string;
  readonly rate: number;
  readonly loss: number | null;
  readonly hasModel: boolean;
}

export interface SweepEvidence {
  readonly id: string;
  /** Token and number of trials from the request that created it. */
  readonly token: string;
  readonly size: number;
  readonly isCancelled: boolean;
  readonly hasEnded: boolean;
  readonly trials: readonly Trial[];
  /** Sweep as the API returns it. */
  readonly shown: Pick<SweepObject, 'status' | 'winner'>;
}

/**
 * Each acknowledged sweep exists once, has ended, has each of its trials once, and names the best one as
 * winner.
 * Trials with the same learning rate have the same loss in every sweep.
 * @param acknowledged ids in the API's responses, by token
 */
export function* checkSweeps(
  sweeps: readonly SweepEvidence[],
  acknowledged: ReadonlyMap<string, string>,
): Generator<[subject: string, what: string]> {
  for (const [token, id] of acknowledged) {
    const made = sweeps.filter((sweep) => sweep.token === token);
    if (made.length !== 1 || made[0]?.id !== id)
      yield [id, `acknowledged, but found ${made.map((one) => one.id).join() || 'none'}`];
  }
  if (new Set(sweeps.map(({ token }) => token)).size !== sweeps.length)
    yield ['sweeps', 'one request created two'];
  const losses = new Map<number, number>();
  for (const sweep of sweeps) {
    yield* checkSweep(sweep);
    for (const { job, state, rate, loss } of sweep.trials) {
      if (state !== 'succeeded' || loss === null) continue;
      if ((losses.get(rate) ?? loss) !== loss)
        yield [job, `its loss is ${loss}, but ${losses.get(rate)} in another sweep`];
      losses.set(rate, loss);
    }
  }
}

function* checkSweep({
  id,
  size,
  isCancelled,
  hasEnded,
  trials,
  shown,
}: SweepEvidence): Generator<[string, string]> {
  if (!hasEnded) yield [id, 'has not ended'];
  const numbers = trials.map(({ number }) => number).sort((a, b) => a - b);
  if (numbers.join() !== Array.from({ length: size }, (_, n) => n + 1).join())
    yield [id, `has the trials ${numbers.join()} instead of 1 to ${size}`];
  const whole = trials.filter(({ state }) => state === 'succeeded');
  for (const { job, loss, hasModel } of whole)
    if (loss === null || !hasModel) yield [job, 'succeeded without a score or a model'];
  const status = isCancelled ? 'cancelled' : whole.length > 0 ? 'succeeded' : 'failed';
  if (shown.status !== status) yield [id, `is ${shown.status}, not ${status}`];
  const best = Math.min(...whole.map(({ loss }) => loss ?? Infinity));
  const winner = whole.find(({ job }) => job === shown.winner?.job);
  if (whole.length > 0 && (winner?.loss !== best || shown.winner?.score !== best))
    yield [id, `names ${JSON.stringify(shown.winner)}, but the best loss is ${best}`];
  if (whole.length === 0 && shown.winner !== null)
    yield [id, 'names a winner, but no trial succeeded'];
}

export class Sweeps implements Kind {
  readonly name = 'sweeps';
  private readonly sweepIds = new Map<string, string>();
  private made: readonly SweepEvidence[] = [];

  async act(place: Place): Promise<void> {
    const token = randomUUID();
    const rates = RATES.slice(0, place.random.next() < 0.5 ? 2 : 3);
    const body = {
      model: place.training.model,
      training_file: place.training.file,
      seed: 5,
      // As in the control jobs, no bit of a trial depends on concurrent jobs.
      hyperparameters: { batch_size: 4, n_epochs: 50 },
      metadata: { sweep: token, trials: String(rates.length) },
      peft: { peft_type: 'LORA', r: 4 },
      graft: { max_steps: STEPS, save_steps: 4, base_dtype: 'f32', measure_forgetting: false },
      search: { algorithm: 'grid', parameters: { 'graft.learning_rate': rates } },
    };
    const sweep = await insist(place, { method: 'POST', path: '/sweeps', body, key: token });
    if (sweep?.id === undefined) return;
    this.sweepIds.set(token, sweep.id);
    if (place.random.next() > 0.15) return;
    const path = `/sweeps/${sweep.id}/cancel`;
    await ask(place, { method: 'POST', path }).catch(() => undefined);
  }

  async open({ cluster }: Place): Promise<string[]> {
    const rows = await cluster.query<{ id: string }>('SELECT id FROM sweep WHERE ended_at IS NULL');
    return rows.map(({ id }) => id);
  }

  async look(place: Place): Promise<Violation[]> {
    const rows = await place.cluster.query<Omit<SweepEvidence, 'shown'>>(
      `SELECT id, metadata->>'sweep' AS token, (metadata->>'trials')::int AS size,
         cancelled_at IS NOT NULL AS "isCancelled", ended_at IS NOT NULL AS "hasEnded",
         (SELECT COALESCE(json_agg(json_build_object('job', job.id, 'number', trial, 'state', state,
            'rate', (spec->>'learning_rate')::float8, 'loss', valid_loss,
            'hasModel', EXISTS (SELECT 1 FROM model WHERE model.id = fine_tuned_model AND status = 'ready'))), '[]')
          FROM job WHERE sweep_id = sweep.id) AS trials
       FROM sweep`,
    );
    const sweeps: SweepEvidence[] = [];
    for (const row of rows)
      sweeps.push({ ...row, shown: await ask<SweepObject>(place, { path: `/sweeps/${row.id}` }) });
    this.made = sweeps;
    return [...checkSweeps(sweeps, this.sweepIds)].map(([subject, what]) => ({
      invariant: 'I17',
      subject,
      what,
    }));
  }

  counts(): Record<string, number> {
    const states = this.made.map(({ shown }) => `sweeps ${shown.status}`);
    return Object.fromEntries([...new Set(states)].map((state) => [state, states.filter((one) => one === state).length])); // prettier-ignore
  }
}
