// Checks that a model supports a request.
import { DomainError, type ModelUse } from '@graft/contracts';
import { tasksOfBase, tasksUsedTo, windowOf } from '../catalog/plugins.js';
import { usesOf } from '../models/model-object.js';
import type { Resolved } from '../models/models.service.js';
import type { Limit } from './chat-body.js';

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
  transcribe: 'transcripts of sounds',
};

/** @throws DomainError unsupported, with the way to go on, where a model is not used in this way */
export function checkUse({ id, base, task }: Resolved, wanted: ModelUse, param = 'model'): void {
  const uses = usesOf(base.family, task?.name ?? null);
  const fitting = tasksOfBase(base.family ?? '');
  // A newer version trained it, for a task that this one does not know: the worker may.
  if (uses.includes(wanted) || (uses.length === 0 && (task !== null || fitting.length === 0)))
    return;
  if (uses.length === 0) {
    const message = `${id} is a base that answers nothing until it is trained; train a model for ${fitting.join(' or ')}`;
    throw new DomainError('unsupported', message, param);
  }
  const reason =
    task === null
      ? `${id} is a base that gives ${uses.map((use) => GIVES[use]).join(' or ')}`
      : `${id} was trained for ${task.name} and gives ${uses.map((use) => GIVES[use]).join(' or ')}`;
  const instead = uses.map((use) => ENDPOINT[use]).join(' or ');
  const tasks = tasksUsedTo(wanted).filter((name) => fitting.includes(name));
  const train = tasks.length === 0 ? '' : `, or train a model for ${tasks.join(' or ')}`;
  throw new DomainError(
    'unsupported',
    `${reason}, not ${GIVES[wanted]}; use ${instead}${train}`,
    param,
  );
}

/** @throws DomainError for a limit that no answer of the model can reach */
export function checkWindow({ tokens, param }: Limit, { id, base: { config } }: Resolved): void {
  const most = config === null ? Infinity : windowOf(config);
  if (tokens <= most) return;
  throw new DomainError(
    'invalid_value',
    `${param} is ${tokens}, but ${id} supports at most ${most} tokens, prompt and answer together; lower it or leave it out`,
    param,
  );
}
