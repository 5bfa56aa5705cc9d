const UNITS: readonly (readonly [seconds: number, unit: string])[] = [
  [86_400, 'd'],
  [3600, 'h'],
  [60, 'min'],
];

/** Formats seconds with at most two units: 95 → "1 min 35 s". */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  for (const [i, [size, unit]] of UNITS.entries()) {
    if (whole < size) continue;
    const rest = whole % size;
    const [smaller, smallerUnit] = UNITS[i + 1] ?? [1, 's'];
    const remainder = Math.floor(rest / smaller);
    return `${Math.floor(whole / size)} ${unit}${remainder > 0 ? ` ${remainder} ${smallerUnit}` : ''}`;
  }
  return `${whole} s`;
}
