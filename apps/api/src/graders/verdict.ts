// Instructions for grading models, and parsing of their verdicts. The answer is constrained by a JSON schema. A model
// that cannot be constrained is instructed in words; then only an answer without other text counts, since a number in
// a sentence may mean something else.

/** Request for a verdict: as an instruction and as a JSON schema of the answer. */
export interface VerdictForm {
  readonly instruction: string;
  readonly schema: object;
}

export const scoreForm = ([low, high]: readonly [number, number]): VerdictForm => ({
  instruction: `Answer with one number from ${low} to ${high}, and nothing else.`,
  schema: { type: 'number', minimum: low, maximum: high },
});

export const labelForm = (labels: readonly string[]): VerdictForm => ({
  instruction: `Answer with one of these labels, and nothing else: ${labels.map((label) => JSON.stringify(label)).join(', ')}.`,
  schema: { enum: [...new Set(labels)] },
});

/** Reads a number, alone or as OpenAI's `{"result": …}`. Returns null if the answer is not a number in the range. */
export function readScore(text: string, [low, high]: readonly [number, number]): number | null {
  const result = unwrapped(text);
  const isNumber = typeof result === 'number' || /^[+-]?(?:\d+\.?\d*|\.\d+)$/.test(String(result));
  if (!isNumber) return null;
  const score = Number(result);
  return score >= low && score <= high ? score : null;
}

/** Reads a label, ignoring case, quotes and a full stop. */
export function readLabel(text: string, labels: readonly string[]): string | null {
  const whole = String(unwrapped(text));
  const result = whole.trim();
  const bare = result.replace(/^["'`]+/, '').replace(/["'`.]+$/, '');
  const same = (one: string, other: string): boolean => one.toLowerCase() === other.toLowerCase();
  return (
    labels.find((label) => label === whole) ??
    labels.find((label) => label === result) ??
    labels.find((label) => label === bare) ??
    labels.find((label) => same(label, bare)) ??
    null
  );
}

function unwrapped(text: string): unknown {
  const inner = /^\s*```(?:json)?\s*(.*?)\s*```\s*$/s.exec(text)?.[1] ?? text.trim();
  if (!/^[{"]/.test(inner)) return inner;
  try {
    const value = JSON.parse(inner) as string | Readonly<Record<string, unknown>>;
    return typeof value === 'string' ? value : (value['result'] ?? value['label'] ?? inner);
  } catch {
    return inner;
  }
}
