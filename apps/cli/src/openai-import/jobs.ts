import { isObject, textOf, type Json } from './found.js';
import { GRAFT } from '../called.js';

/** Body of POST /v1/fine_tuning/jobs for an OpenAI job, without its model and files. */
export interface JobBody {
  /** Null if there is no counterpart; the last note has the reason. */
  readonly body: Record<string, unknown> | null;
  readonly notes: readonly string[];
}

const NUMBERS = ['n_epochs', 'batch_size', 'learning_rate_multiplier', 'beta'];
const METHODS = ['supervised', 'dpo'];

export function jobBody(job: Json): JobBody {
  const notes: string[] = [];
  const method = isObject(job['method']) ? job['method'] : null;
  const type = textOf(method?.['type']) ?? 'supervised';
  if (!METHODS.includes(type))
    return {
      body: null,
      notes: [
        type === 'reinforcement'
          ? 'method "reinforcement" has no counterpart: Graft trains on examples and preferences'
          : `method "${type}" has no counterpart`,
      ],
    };
  const own = method?.[type];
  const given = isObject(own) && isObject(own['hyperparameters']) ? own['hyperparameters'] : {};
  const older = isObject(job['hyperparameters']) ? job['hyperparameters'] : {};
  const hyperparameters: Record<string, unknown> = {};
  for (const [name, value] of Object.entries({ ...older, ...given })) {
    if (value === null || value === undefined) continue;
    if (NUMBERS.includes(name) && (name !== 'beta' || type === 'dpo'))
      hyperparameters[name] = value;
    else notes.push(`hyperparameter ${name} has no counterpart and was skipped`);
  }
  const integrations = Array.isArray(job['integrations']) ? job['integrations'] : [];
  if (integrations.length > 0)
    notes.push(
      `its integrations (W&B) were skipped; use --wandb, or ${GRAFT} integrations set with --every-job`,
    );
  const body: Record<string, unknown> = {
    method: {
      type,
      [type]: Object.keys(hyperparameters).length > 0 ? { hyperparameters } : {},
    },
  };
  const suffix = suffixOf(job);
  if (suffix !== null) body['suffix'] = suffix;
  if (Number.isInteger(job['seed'])) body['seed'] = job['seed'];
  return { body, notes };
}

/** Suffix of the job, from its field or the name of its model: ft:gpt-4o-mini-2024-07-18:org:SUFFIX:id. */
function suffixOf(job: Json): string | null {
  const given = textOf(job['user_provided_suffix']) ?? textOf(job['suffix']);
  if (given !== null) return given;
  const [, , , suffix] = (textOf(job['fine_tuned_model']) ?? '').split(':');
  return textOf(suffix);
}
