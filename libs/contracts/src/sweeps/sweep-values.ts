// What people type for the values of a sweep's field. Without zod, since the dashboard's bundle has it.
import type { SweepParameter } from './sweeps.js';

/** JSON where it is JSON (numbers, true, null, lists), else the text itself. */
export function valueOf(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

const RANGE = /^([^.,][^,]*?)\.\.([^,:]+)((?::(?:log|integer))*)$/;

/** A range as in 1e-5..1e-3:log, a list as JSON, or values between commas. */
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
