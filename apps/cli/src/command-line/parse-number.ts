import { InvalidArgumentError } from 'commander';

/** For an option that takes a count; commander says which option was wrong. */
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
