// Jobs train, or make something of finished adapters (docs/adr/0018). Without zod, since the dashboard's bundle has it.
import type { JobObject } from './job-objects.js';

type Operation = NonNullable<JobObject['graft']['operation']>;

/** What jobs do: they train, or they are an operation, by its type. */
export const JOB_KINDS = ['training', 'export', 'merge', 'combine', 'convert'] as const satisfies (
  'training' | Operation['type']
)[];
export type JobKind = (typeof JOB_KINDS)[number];

/** The kinds in words, in the singular. */
export const KIND_NOUNS: Readonly<Record<JobKind, string>> = {
  training: 'training run',
  export: 'export',
  merge: 'merge',
  combine: 'combination',
  convert: 'conversion',
};

export const kindOf = ({ graft }: JobObject): JobKind => graft.operation?.type ?? 'training';

/** "Export to GGUF Q4_K_M" */
export function operationTitle(operation: Operation): string {
  switch (operation.type) {
    case 'merge':
      return 'Merge';
    case 'combine':
      return `Combination of ${operation.adapters.length} by ${operation.combination_type}`;
    case 'convert':
      return operation.rank === undefined
        ? `Conversion to LoRA, energy ${operation.energy}`
        : `Conversion to LoRA r ${operation.rank}`;
    case 'export':
      return exportTitle(operation);
  }
}

function exportTitle({ format, quantization }: Operation & { readonly type: 'export' }): string {
  if (format === 'vllm') return 'Export for vLLM';
  return format === 'gguf' ? `Export to GGUF ${quantization ?? 'F16'}` : 'Export to GGUF adapter';
}

/** The body of `POST /adapters/operations` that would do it again; null of a job that trains. */
export function operationBody(job: JobObject): Record<string, unknown> | null {
  const { operation, pool, priority } = job.graft;
  if (!operation) return null;
  const { adapters, ...rest } = operation;
  return {
    ...rest,
    ...(operation.type === 'combine' ? { adapters } : { model: adapters[0] }),
    ...(job.user_provided_suffix && { suffix: job.user_provided_suffix }),
    ...(job.metadata && { metadata: job.metadata }),
    pool,
    priority,
  };
}
