// Command line options of graft-api and graft-worker, each described once: `--help`, the parser and
// docs/reference/configuration.md use the same list.

/** Option of a program, which an environment variable can set, too. A flag takes precedence over its variable. */
export interface ProgramOption {
  /** Name without the leading dashes. */
  readonly flag: string;
  /** Placeholder of the value in `--help`, such as HOST; null for a switch. */
  readonly value: string | null;
  /** Environment variable, or NAME=VALUE for a switch; null if only the flag sets it. */
  readonly env: string | null;
  /** Default in words; null if there is none. */
  readonly default: string | null;
  readonly text: string;
  /** Limits and warnings, for the reference only. */
  readonly more?: string;
}

/** Options for `parseArgs` of node:util. */
export const parserOptions = <Option extends ProgramOption>(options: readonly Option[]) =>
  Object.fromEntries(
    options.map(({ flag, value }) => [flag, { type: value === null ? 'boolean' : 'string' }]),
  ) as {
    [One in Option as One['flag']]: { type: One['value'] extends null ? 'boolean' : 'string' };
  };

/** Name of an option that has a value and an environment variable. */
export type ValueFlag<Option extends ProgramOption> = Extract<
  Option,
  { value: string; env: string }
>['flag'];

/**
 * Returns the environment variable of an option, and its default.
 * @throws if the option has no variable
 */
export function sourceOf(
  options: readonly ProgramOption[],
  flag: string,
): { readonly variable: string; readonly fallback: string | null } {
  const option = options.find((one) => one.flag === flag);
  if (option?.env == null) throw new Error(`--${flag} has no environment variable`);
  return { variable: option.env.replace(/=.*/, ''), fallback: option.default };
}

const WIDTH = 100;
const INDENT = 23;

/** Returns the options as a text for `--help`, at most 100 columns wide. */
export function optionsHelp(options: readonly ProgramOption[]): string {
  return options
    .flatMap(({ flag, value, env, default: fallback, text }) => {
      const head = `  --${flag}${value === null ? '' : ` ${value}`}`;
      const source = [
        env,
        fallback === null ? null : `default${/^\S+$/.test(fallback) ? '' : ':'} ${fallback}`,
      ].filter((part) => part !== null);
      const lines = wrap(source.length === 0 ? text : `${text} (${source.join(', ')})`);
      return head.length < INDENT
        ? [head.padEnd(INDENT) + (lines[0] ?? ''), ...indented(lines.slice(1))]
        : [head, ...indented(lines)];
    })
    .join('\n');
}

const indented = (lines: readonly string[]): string[] =>
  lines.map((line) => ' '.repeat(INDENT) + line);

function wrap(text: string): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= WIDTH - INDENT)
      lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}
