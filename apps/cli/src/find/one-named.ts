import { CliError, EXIT } from '../cli-error.js';
import { begins, typedStart } from './short-id.js';

interface Named {
  readonly id: string;
  readonly name: string;
}

/** Finds the only object with this name, or otherwise with this id or prefix of its id. @throws CliError with the candidates */
export function oneNamed<T extends Named>(
  all: readonly T[],
  name: string,
  kind: string,
  list: string,
): T {
  const start = typedStart(name);
  const called = all.filter((each) => each.name === start);
  const found = called.length > 0 ? called : all.filter(({ id }) => begins(id, start));
  const [first] = found;
  if (first === undefined) throw new CliError(`no ${kind} named ${name}; see ${list}`, EXIT.failed);
  if (found.length > 1)
    throw new CliError(
      `${found.length} ${kind}${kind.endsWith('ch') ? 'es' : 's'} match ${name}; use an id:\n${found
        .slice(0, 10)
        .map(({ id, name: is }) => `  ${id} ${is}`.trimEnd())
        .join('\n')}`,
      EXIT.usage,
    );
  return first;
}
