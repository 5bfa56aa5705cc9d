import { InvalidArgumentError } from 'commander';

/** Parser of an option that takes a count. Commander adds the name of the option to the error. */
export function positiveInteger(text: string): number {
  if (!/^\d+$/.test(text) || Number(text) < 1)
    throw new InvalidArgumentError('Expected an integer ≥ 1.');
  return Number(text);
}

export function decimal(text: string): number {
  if (text.trim() === '' || !Number.isFinite(Number(text)))
    throw new InvalidArgumentError('Expected a number.');
  return Number(text);
}
