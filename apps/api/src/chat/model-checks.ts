// Checks that a model supports a request.
import { DomainError, type ModelUse } from '@graft/contracts';
import { tasksOfBase, tasksUsedTo, windowOf } from '../catalog/plugins.js';
import { usesOf } from '../models/model-object.js';
import type { Resolved } from '../models/models.service.js';
import type { TokenLimit } from './chat-body.js';

const ENDPOINT: Readonly<Record<ModelUse, string>> = {
  chat: 'POST /v1/chat/completions',
  embed: 'POST /v1/embeddings',
  classify: 'POST /v1/classify',
  transcribe: 'POST /v1/audio/transcriptions',
};

const GIVES: Readonly<Record<ModelUse, string>> = {
  chat: 'text',
  embed: 'vectors',
  classify: 'labels',
  transcribe: 'transcripts of audio',
};

/**
 * Checks that a model supports a use.
 * @throws DomainError unsupported, with alternatives
 */
export function checkUse({ id, base, task }: Resolved, wanted: ModelUse, param = 'model'): void {
  const uses = usesOf(base.family, task?.name ?? null);
  const fitting = tasksOfBase(base.family ?? '');
  // A newer version may have trained it for a task that this one does not know; the worker may support it.
  if (uses.includes(wanted) || (uses.length === 0 && (task !== null || fitting.length === 0)))
    return;
  if (uses.length === 0) {
    const message = `${id} is a base model without a use before training; train a model for ${fitting.join(' or ')}`;
    throw new DomainError('unsupported', message, param);
  }
  const reason =
    task === null
      ? `${id} is a base model that returns ${uses.map((use) => GIVES[use]).join(' or ')}`
      : `${id} was trained for ${task.name} and returns ${uses.map((use) => GIVES[use]).join(' or ')}`;
  const instead = uses.map((use) => ENDPOINT[use]).join(' or ');
  const tasks = tasksUsedTo(wanted).filter((name) => fitting.includes(name));
  const train = tasks.length === 0 ? '' : `, or train a model for ${tasks.join(' or ')}`;
  throw new DomainError(
    'unsupported',
    `${reason}, not ${GIVES[wanted]}; use ${instead}${train}`,
    param,
  );
}

/**
 * Checks the requested length.
 * @throws DomainError if no answer of the model can reach it
 */
export function checkWindow(
  { tokens, param }: TokenLimit,
  { id, base: { config } }: Resolved,
): void {
  const most = config === null ? Infinity : windowOf(config);
  if (tokens <= most) return;
  throw new DomainError(
    'invalid_value',
    `${param} is ${tokens}, but ${id} supports at most ${most} tokens for prompt and answer together; lower it or omit it`,
    param,
  );
}
