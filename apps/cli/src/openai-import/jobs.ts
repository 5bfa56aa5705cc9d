import { isObject, textOf, type Json } from './found.js';

/** The body of POST /v1/fine_tuning/jobs for a job of OpenAI's, without its model and files. */
export interface JobBody {
  /** Null: there is no counterpart, for the last of the notes. */
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
          ? 'method "reinforcement" has no counterpart: Graft learns from examples and preferences'
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
    else notes.push(`hyperparameter ${name} has no counterpart and is left out`);
  }
  const integrations = Array.isArray(job['integrations']) ? job['integrations'] : [];
  if (integrations.length > 0)
    notes.push(
      'its integrations (W&B) are left out: name yours with --wandb, or set them up for every job',
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

/** From its own field, or out of the name of what it made: ft:gpt-4o-mini-2024-07-18:org:SUFFIX:id. */
function suffixOf(job: Json): string | null {
  const said = textOf(job['user_provided_suffix']) ?? textOf(job['suffix']);
  if (said !== null) return said;
  const [, , , suffix] = (textOf(job['fine_tuned_model']) ?? '').split(':');
  return textOf(suffix);
}
