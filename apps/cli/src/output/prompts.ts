import { CliError, EXIT } from '../cli-error.js';

/** Whether the user can answer questions. */
export const canAsk = (): boolean =>
  process.stdin.isTTY === true && process.stdout.isTTY === true && process.env['TERM'] !== 'dumb';

/** The library of prompts, loaded only when it is needed. */
export const prompts = () => import('@clack/prompts');

/** Answer to a prompt. @throws CliError if the user pressed Ctrl-C or Escape */
export async function answered<T>(prompt: Promise<T>): Promise<Exclude<T, symbol>> {
  const value = await prompt;
  if (typeof value === 'symbol')
    throw new CliError('cancelled; nothing was changed', EXIT.interrupted);
  return value as Exclude<T, symbol>;
}
