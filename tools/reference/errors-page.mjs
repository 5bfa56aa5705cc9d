// docs/reference/errors.md, from the error codes of contracts.
import { cell, code, page, table } from './markdown.mjs';

const RETRIES = {
  never: 'no',
  once: 'once',
  crash: 'until it crashes repeatedly without a new checkpoint',
  infra: 'until its budget for such failures is spent',
  wait: 'without limit, with a delay',
  free: 'without limit, immediately',
};

export function errorsPage({ codes, attemptCodes }) {
  const rows = (names) =>
    Object.entries(codes).filter(([name]) => attemptCodes.includes(name) === names);
  return page(
    'Errors',
    'Errors have OpenAI\'s format: `{"error": {"message", "type", "param", "code"}}`. `param` is the full path of the field, such as `peft.target_modules`. Clients should compare `code`; messages may change.',
    '## Responses',
    table(
      ['code', 'status', 'meaning'],
      rows(false).map(([name, { status, meaning }]) => [code(name), status, cell(meaning)]),
    ),
    '## Failed attempts of a job',
    "These codes appear in a job's `error`, in the `outcome` of its attempts and in its events. Responses to a job that failed in this way still have status 200. `disk_full` is one of them, too.",
    table(
      ['code', 'meaning', 'retried'],
      rows(true).map(([name, { meaning, retry }]) => [code(name), cell(meaning), RETRIES[retry]]),
    ),
  );
}
