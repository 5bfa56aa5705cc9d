import { methodTitle } from '@graft/contracts/job-method';

const UNITS: readonly [number, string][] = [
  [86_400, 'd'],
  [3600, 'h'],
  [60, 'min'],
];

/** Returns "7 min". One unit is precise enough for an age. */
export function age(unix: number, now = Date.now() / 1000): string {
  const seconds = Math.max(0, now - unix);
  const [size, unit] = UNITS.find(([length]) => seconds >= length) ?? [1, 's'];
  return `${Math.floor(seconds / size)} ${unit}`;
}

export const ago = (unix: number, now = Date.now() / 1000): string =>
  now - unix < 5 ? 'just now' : `${age(unix, now)} ago`;

export const moment = (unix: number): string => new Date(unix * 1000).toLocaleString();

/** Formats a size: 1234567 → "1.2 MB" (powers of 1000). */
export function bytes(size: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = size;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

export const count = (n: number): string => n.toLocaleString('en');

/** Formats a measured number with about four digits. */
export function short(n: number | null | undefined): string {
  if (n === null || n === undefined) return '–';
  if (n === 0) return '0';
  const size = Math.abs(n);
  if (size >= 1000) return size < 1e9 ? count(Math.round(n)) : n.toExponential(2);
  return size < 0.001 ? n.toExponential(2) : n.toPrecision(4);
}

/**
 * Returns "DoRA r 16" from PEFT's config (null for full fine-tuning), or "Export to GGUF F16" for
 * an operation on adapters.
 */
export function methodName(job: Parameters<typeof methodTitle>[0]): string {
  const { peft, graft } = job;
  if (graft.operation) return methodTitle(job);
  if (peft === null) return 'full';
  // OFT has a rank of 0 if its block size is given instead.
  const size = peft['r'] ? ` r ${String(peft['r'])}` : '';
  const tokens =
    peft['num_virtual_tokens'] !== undefined ? ` ${String(peft['num_virtual_tokens'])} tokens` : '';
  return `${methodTitle(job)}${size}${tokens}`;
}

/** Formats an axis tick in limited width: 0.0025, 2.5e-4, 10,000. */
export function tick(value: number): string {
  const size = Math.abs(value);
  if (size >= 10_000) return size < 1e9 ? count(value) : value.toExponential();
  const rounded = Number(value.toPrecision(6)); // Rounds errors such as 0.1 + 0.2.
  return size > 0 && size < 0.001 ? rounded.toExponential() : String(rounded);
}

/** Returns a model's name as a title, most distinctive part first: "pirate · 1a2b3c4d · step 10". */
export function modelTitle(name: string): string {
  const [, suffix, job, step] =
    /^ft:[^:]*:[^:]*:([^:]*):([^:]{8})(?::ckpt-step-(\d+))?$/.exec(name) ?? [];
  if (job === undefined) return name;
  return [suffix, job, step && `step ${step}`].filter(Boolean).join(' · ');
}
