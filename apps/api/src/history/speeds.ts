import { Injectable } from '@nestjs/common';
import type { Spec } from '@graft/contracts';
import { Database } from '../database/database.js';

export interface Speed {
  readonly tokensPerSecond: number;
  readonly source: 'history' | 'benchmark';
  /** Text such as "1,234 tokens/s, the speed of LORA on ID in pool default". */
  readonly from: string;
}

const RECENT = 5;

/**
 * Fraction of the benchmark's speed that training reaches. Attention, norms, the optimizer and
 * short sequences take the rest.
 */
const EFFICIENCY = 0.4;
/** Factors by which the time of a run may be shorter or longer than estimated. */
const SPREADS = { history: 1.5, benchmark: 3 } as const;

/** Returns the shortest and the longest time to expect. */
export const timeRange = (seconds: number, { source }: Speed): readonly [number, number] => [
  seconds / SPREADS[source],
  seconds * SPREADS[source],
];

/** Training speed of earlier jobs. It includes jobs of all projects and reveals nothing but their speed. */
@Injectable()
export class Speeds {
  constructor(private readonly database: Database) {}

  /**
   * Speed of recent jobs with the same base, method and precision in a pool, or of any jobs on the base;
   * null if there are none.
   */
  async ofSimilar(
    base: string,
    pool: string,
    { peft, base_dtype: dtype }: Spec,
  ): Promise<Speed | null> {
    const method = peft?.peft_type ?? null;
    const same = await this.recent(
      `base_id = $1 AND pool = $2 AND spec->>'base_dtype' = $3
         AND spec->'peft'->>'peft_type' IS NOT DISTINCT FROM $4`,
      [base, pool, dtype, method],
    );
    const kind = method ?? 'full fine-tuning';
    if (same !== null) return described(same, `${kind} on ${base} in pool ${pool}`);
    const any = await this.recent('base_id = $1', [base]);
    return any === null ? null : described(any, `other jobs on ${base}`);
  }

  /**
   * Rough speed of a first job on a base, from the speed of matrix products that workers of the pool measured at their
   * start; null if none has.
   * @param parameters of the base with its adapters
   */
  async ofBenchmark(
    pool: string,
    { base_dtype: dtype, peft, gradient_checkpointing: isRecomputed }: Spec,
    parameters: number,
  ): Promise<Speed | null> {
    const [row] = await this.database.query<{ median: number | null }>(
      `SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY (speed->>$2)::float8) AS median FROM worker
       WHERE pool = $1 AND speed IS NOT NULL AND state <> 'offline'`,
      [pool, dtype === 'f32' ? 'f32_flops' : 'bf16_flops'],
    );
    if (!row?.median) return null;
    // Multiply and add per parameter: once forward, once for the gradient of the inputs, once for that of the weights.
    const passes = 2 + (peft === null ? 1 : 0) + (isRecomputed ? 1 : 0);
    const tokensPerSecond = (row.median * EFFICIENCY) / (2 * passes * parameters);
    const gigaflops = Math.round(row.median / 1e9).toLocaleString('en');
    const from = `a rough estimate from a benchmark of the workers in pool ${pool}: ${gigaflops} GFLOP/s in ${dtype}`;
    return { tokensPerSecond, source: 'benchmark', from };
  }

  /**
   * Tokens per second of a slot in a pool, by base. Uses recent jobs in the pool, including loading,
   * evaluations and time for other jobs; otherwise the training speed of the base in any pool. Bases that
   * were never trained are missing.
   */
  async ofSlots(bases: readonly string[], pool: string): Promise<ReadonlyMap<string, number>> {
    const rows = await this.database.query<{ base: string; rate: number | null }>(
      `SELECT base, COALESCE((
           SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY tokens / held) FROM (
             SELECT estimated_tokens AS tokens, (SELECT sum(EXTRACT(EPOCH FROM ended_at - assigned_at))::float8
               FROM attempt WHERE job_id = job.id) AS held
             FROM job WHERE base_id = base AND pool = $2 AND state = 'succeeded' AND estimated_tokens > 0
               AND tokens_per_second IS NOT NULL ORDER BY updated_at DESC LIMIT ${RECENT}) AS ended WHERE held > 0
         ), (
           SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY tokens_per_second) FROM (
             SELECT tokens_per_second FROM job WHERE base_id = base AND tokens_per_second > 0
             ORDER BY updated_at DESC LIMIT ${RECENT}) AS trained
         )) AS rate
       FROM unnest($1::text[]) AS base`,
      [bases, pool],
    );
    return new Map(rows.flatMap(({ base, rate }) => (rate ? [[base, rate]] : [])));
  }

  private async recent(where: string, values: unknown[]): Promise<number | null> {
    const [row] = await this.database.query<{ median: number | null }>(
      `SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY tokens_per_second) AS median
       FROM (SELECT tokens_per_second FROM job WHERE ${where} AND tokens_per_second IS NOT NULL
         AND tokens_per_second > 0 ORDER BY updated_at DESC LIMIT ${RECENT}) AS recent`,
      values,
    );
    return row?.median ?? null;
  }
}

function described(tokensPerSecond: number, what: string): Speed {
  const rate = Math.round(tokensPerSecond).toLocaleString('en');
  return { tokensPerSecond, source: 'history', from: `${rate} tokens/s, the speed of ${what}` };
}
