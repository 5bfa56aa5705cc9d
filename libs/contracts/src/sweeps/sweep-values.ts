// Parses values of sweep parameters that users type. No zod: the dashboard bundles this file.
import type { SweepParameter } from './sweeps.js';

/** Parses a text as JSON (numbers, true, null, lists), or returns the text itself. */
export function valueOf(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

const RANGE = /^([^.,][^,]*?)\.\.([^,:]+)((?::(?:log|integer))*)$/;

/** Parses a range such as 1e-5..1e-3:log, a JSON list, or values separated by commas. */
export function sweepValuesOf(text: string): SweepParameter {
  const [, from, to, how = ''] = RANGE.exec(text.trim()) ?? [];
  const [min, max] = [Number(from), Number(to)];
  if (from !== undefined && Number.isFinite(min) && Number.isFinite(max))
    return {
      min,
      max,
      ...(how.includes('log') ? { log: true } : {}),
      ...(how.includes('integer') ? { integer: true } : {}),
    };
  const whole = valueOf(text);
  if (typeof whole === 'object' && whole !== null) return whole as SweepParameter;
  return text.split(',').map((part) => valueOf(part.trim()));
}
