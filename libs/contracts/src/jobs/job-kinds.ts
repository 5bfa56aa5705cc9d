// Kinds of jobs: training, and operations on adapters (docs/adr/0018). No zod: the dashboard bundles this file.
import type { JobObject } from './job-objects.js';

type Operation = NonNullable<JobObject['graft']['operation']>;

/** Kinds of jobs: training, or the type of an operation on adapters. */
export const JOB_KINDS = ['training', 'export', 'merge', 'combine', 'convert'] as const satisfies (
  'training' | Operation['type']
)[];
export type JobKind = (typeof JOB_KINDS)[number];

/** Singular noun for each kind. */
export const KIND_NOUNS: Readonly<Record<JobKind, string>> = {
  training: 'training run',
  export: 'export',
  merge: 'merge',
  combine: 'combination',
  convert: 'conversion',
};

export const kindOf = ({ graft }: JobObject): JobKind => graft.operation?.type ?? 'training';

/** Returns a title such as "Export to GGUF Q4_K_M". */
export function operationTitle(operation: Operation): string {
  switch (operation.type) {
    case 'merge':
      return 'Merge';
    case 'combine':
      return `Combination of ${operation.adapters.length} adapters (${operation.combination_type})`;
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

/** Returns the part of a job's name that describes its operation: "GGUF Q4_K_M", "merged", "LoRA r 16". */
export function operationLabel(operation: Operation): string {
  switch (operation.type) {
    case 'merge':
      return 'merged';
    case 'combine':
      return `combined (${operation.combination_type})`;
    case 'convert':
      return operation.rank === undefined
        ? `LoRA, energy ${operation.energy}`
        : `LoRA r ${operation.rank}`;
    case 'export':
      return exportTitle(operation).replace(/^Export (to|for) /, '');
  }
}

/** Returns the body of `POST /adapters/operations` that repeats the operation; null for a training job. */
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
