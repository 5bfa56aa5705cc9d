import { labelOf } from './labels.js';

/** Last error of the API, with its field. */
export interface Refusal {
  readonly param: string | null;
  readonly message: string;
}

/** Whether an error concerns a field or a part of it. */
export const isOf = (wrong: Refusal | null, id: string): boolean =>
  wrong?.param === id || wrong?.param?.startsWith(`${id}.`) === true;

/** Returns the ids of the texts that describe a field, for `aria-describedby`. */
export const described = (id: string, { help, bad }: { help: boolean; bad: boolean }) =>
  [bad && `${id}-problem`, help && `${id}-help`].filter(Boolean).join(' ') || undefined;

/** Returns an error message without the path of its field. */
export const withoutPath = (message: string): string => message.replace(/^[\w.]+: /, '');

/** Error of a field, shown below it and therefore without its name. */
export function FieldProblem({ id, wrong }: { id: string; wrong: Refusal | null }) {
  return (
    <small id={`${id}-problem`} className="bad">
      {wrong && withoutPath(wrong.message)}
    </small>
  );
}

/** Something that must be changed before the form can be sent. */
export interface Problem {
  /** Path of the field, or the id of a control; null if it is about no single field. */
  readonly path: string | null;
  readonly label: string;
  /** The rest of the sentence after "LABEL: ". */
  readonly text: string;
  /** The API's own sentence, if the problem is from the API. */
  readonly behind?: string;
}

/** Returns the id of the control of a path: `method.supervised.hyperparameters.n_epochs` as `n_epochs`. */
export const controlOf = (path: string): string =>
  path.replace(/^(method\.\w+\.)?hyperparameters\./, '');

/** Returns an error of the API in the words of users: "Epochs: at most 50". */
export function asProblem({ param, message }: Refusal): Problem {
  const text = withoutPath(message)
    .replace(/^must be /, '')
    .replace(/, got .*$/, '');
  const path = param === null ? null : controlOf(param);
  const name = param?.slice(param.lastIndexOf('.') + 1);
  const isNamed = name !== undefined && text.startsWith(name);
  return {
    path,
    label: path === null ? '' : labelOf(path),
    text: isNamed ? text.slice(name.length).trim() : text,
    behind: message,
  };
}

/** Returns the problem of a field, to show below it. */
export const problemAt = (problems: readonly Problem[], id: string): string | null =>
  problems.find(({ path }) => path === id || path?.startsWith(`${id}.`))?.text ?? null;
