// What a model that grades was asked to answer, and what it did. Models here are not held to a JSON schema, so the
// form is asked for in words, and only an answer that is nothing else counts: a number found somewhere in a sentence
// may be another one.

export const scoreOrder = ([low, high]: readonly [number, number]): string =>
  `Answer with one number from ${low} to ${high}, and nothing else.`;

export const labelOrder = (labels: readonly string[]): string =>
  `Answer with one of these labels, and nothing else: ${labels.map((label) => JSON.stringify(label)).join(', ')}.`;

/** A number, alone or as OpenAI's `{"result": …}`; null where the answer is none, or not within the range. */
export function readScore(text: string, [low, high]: readonly [number, number]): number | null {
  const result = unwrapped(text);
  const isNumber = typeof result === 'number' || /^[+-]?(?:\d+\.?\d*|\.\d+)$/.test(String(result));
  if (!isNumber) return null;
  const score = Number(result);
  return score >= low && score <= high ? score : null;
}

/** As the label is written, but for case, quotes and a full stop. */
export function readLabel(text: string, labels: readonly string[]): string | null {
  const result = String(unwrapped(text)).trim();
  const bare = result.replace(/^["'`]+/, '').replace(/["'`.]+$/, '');
  const same = (one: string, other: string): boolean => one.toLowerCase() === other.toLowerCase();
  return (
    labels.find((label) => label === result) ??
    labels.find((label) => label === bare) ??
    labels.find((label) => same(label, bare)) ??
    null
  );
}

function unwrapped(text: string): unknown {
  const inner = /^\s*```(?:json)?\s*(.*?)\s*```\s*$/s.exec(text)?.[1] ?? text.trim();
  if (!inner.startsWith('{')) return inner;
  try {
    const { result, label } = JSON.parse(inner) as Readonly<Record<string, unknown>>;
    return result ?? label ?? inner;
  } catch {
    return inner;
  }
}
