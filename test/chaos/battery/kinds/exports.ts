// Operations on finished adapters: merge, export and combine. Their files must equal those of operations
// without faults.
import { randomUUID } from 'node:crypto';
import { until } from '../../../e2e/installation.js';
import type { Violation } from '../checker.js';
import { insist, post, type Kind, type Place } from './kind.js';

/** Request body by operation, for two adapters. */
const OPERATIONS: Readonly<Record<string, (first: string, second: string) => object>> = {
  merge: (model) => ({ type: 'merge', model }),
  export: (model) => ({ type: 'export', format: 'gguf_adapter', model }),
  combine: (...adapters) => ({ type: 'combine', adapters, weights: [1, 0.5], svd_rank: 4 }),
};

/** SHA-256 by file name. */
export type Made = Readonly<Record<string, string>>;

export interface OperationRow {
  readonly id: string;
  /** Token from the request that created the operation. */
  readonly token: string | null;
  readonly operation: string;
  readonly state: string;
  readonly files: Made | null;
  readonly error: { readonly message: string } | null;
}

export interface ExportEvidence {
  readonly operations: readonly OperationRow[];
  /** Files of each operation without faults. */
  readonly quiet: Readonly<Record<string, Made>>;
  /** Id in the API's response, by token. */
  readonly jobIds: ReadonlyMap<string, string>;
}

/**
 * Each acknowledged operation exists once and succeeded, and its files have the same bytes as without faults.
 */
export function* checkExports({
  operations,
  quiet,
  jobIds,
}: ExportEvidence): Generator<[subject: string, what: string]> {
  const tokens = operations.flatMap(({ token }) => token ?? []);
  if (new Set(tokens).size !== tokens.length) yield ['operations', 'one request created two'];
  for (const [token, id] of jobIds)
    if (!operations.some((row) => row.id === id && row.token === token))
      yield [id, 'acknowledged, but missing'];
  for (const { id, operation, state, files } of operations) {
    if (state !== 'succeeded') yield [id, `${operation} is ${state}`];
    else if (listOf(files) !== listOf(quiet[operation] ?? null))
      yield [id, `${operation} made ${listOf(files)}, but ${listOf(quiet[operation] ?? null)} without faults`]; // prettier-ignore
  }
}

const listOf = (made: Made | null): string => JSON.stringify(Object.entries(made ?? {}).sort());

/** Rows of the operations. README.md is excluded because it contains the job id and the date. */
const ROWS = `
  SELECT job.id, job.metadata->>'key' AS token, job.metadata->>'operation' AS operation, job.state, job.error,
    (SELECT json_object_agg(part->>'name', part->>'sha256') FROM model, jsonb_array_elements(model.files) AS part
     WHERE model.id = fine_tuned_model AND part->>'name' <> 'README.md') AS files
  FROM job WHERE job.metadata ? 'operation'`;

export class Exports implements Kind {
  readonly name = 'exports';
  private quiet: Readonly<Record<string, Made>> = {};
  private readonly jobIds = new Map<string, string>();
  private operations: readonly OperationRow[] = [];

  async begin(place: Place): Promise<void> {
    for (const operation of Object.keys(OPERATIONS))
      await post(place, '/adapters/operations', this.body(place, operation));
    const rows = (): Promise<OperationRow[]> => place.cluster.query<OperationRow>(ROWS);
    await until(
      'the quiet operations',
      async () => {
        const all = await rows();
        const failed = all.find(({ state }) => state === 'failed');
        if (failed) throw new Error(`${failed.operation}: ${JSON.stringify(failed.error)}`);
        return all.every(({ state }) => state === 'succeeded');
      },
      120_000,
    );
    this.quiet = Object.fromEntries((await rows()).map((row) => [row.operation, row.files ?? {}]));
  }

  async act(place: Place): Promise<void> {
    const key = randomUUID();
    const body = this.body(place, place.random.of(Object.keys(OPERATIONS)), key);
    const request = { method: 'POST', path: '/adapters/operations', body, key };
    const job = await insist(place, request);
    if (job?.id !== undefined) this.jobIds.set(key, job.id);
  }

  /** Empty: operations are jobs, and the battery waits for all jobs. */
  open(): Promise<string[]> {
    return Promise.resolve([]);
  }

  async look({ cluster }: Place): Promise<Violation[]> {
    this.operations = await cluster.query<OperationRow>(ROWS);
    const { operations, quiet, jobIds } = this;
    return [...checkExports({ operations, quiet, jobIds })].map(([subject, what]) => ({
      invariant: 'I20',
      subject,
      what,
    }));
  }

  counts(): Record<string, number> {
    return { operations: this.operations.length - Object.keys(this.quiet).length };
  }

  private body(
    { adapters: [first = '', second = ''] }: Place,
    operation: string,
    key?: string,
  ): object {
    return {
      ...OPERATIONS[operation]?.(first, second),
      metadata: { operation, ...(key !== undefined && { key }) },
    };
  }
}
