// What a model returns for a text: labels with probabilities, a number, tags of words, or a part of the text.

/** Answer of `POST /v1/classify` to one input. */
export type RawAnswer = Readonly<Record<string, unknown>>;

export type LabelAnswer =
  | { readonly kind: 'label'; readonly label: string; readonly shares: Shares }
  | { readonly kind: 'labels'; readonly labels: readonly string[]; readonly shares: Shares }
  | { readonly kind: 'value'; readonly value: number }
  | { readonly kind: 'other'; readonly text: string };

/** Labels with their probabilities, highest first. */
export type Shares = readonly (readonly [label: string, share: number])[];

export const sharesOf = (probabilities: unknown): Shares =>
  Object.entries((probabilities ?? {}) as Readonly<Record<string, number>>).sort(
    ([, a], [, b]) => b - a,
  );

export function labelAnswer({ index: _, ...answer }: RawAnswer): LabelAnswer {
  const { label, labels, value, probabilities } = answer;
  if (typeof value === 'number') return { kind: 'value', value };
  const shares = sharesOf(probabilities);
  if (typeof label === 'string') return { kind: 'label', label, shares };
  if (Array.isArray(labels)) return { kind: 'labels', labels: labels as string[], shares };
  return { kind: 'other', text: JSON.stringify(answer) };
}

/** The answer in one line: "spam", "red, small", "0.1235". */
export function answerText(answer: LabelAnswer): string {
  if (answer.kind === 'label') return answer.label;
  if (answer.kind === 'labels') return answer.labels.join(', ') || 'none';
  return answer.kind === 'value' ? answer.value.toFixed(4) : answer.text;
}

/** Probability of the answer. Null if it has none. For several labels, that of the least likely. */
export function certainty(answer: LabelAnswer): number | null {
  if (answer.kind === 'label') return answer.shares[0]?.[1] ?? null;
  if (answer.kind !== 'labels') return null;
  const chosen = answer.shares.filter(([label]) => answer.labels.includes(label));
  return chosen.length > 0 ? Math.min(...chosen.map(([, share]) => share)) : null;
}

/** A stretch of a text: words with the same tag, or without one. */
export interface TaggedSpan {
  readonly text: string;
  readonly type: string | null;
  /** Lowest probability of its words. */
  readonly share: number | null;
}

interface TagAnswer {
  readonly tokens: readonly string[];
  readonly tags: readonly (string | null)[];
  readonly probabilities?: readonly (number | null)[];
  readonly entities?: readonly {
    readonly type: string;
    readonly from: number;
    readonly to: number;
  }[];
}

const OUTSIDE = 'O';

/** Splits a tagged text into spans. Entities are used if the model has them, otherwise each word's tag. */
export function spansOf(answer: RawAnswer): readonly TaggedSpan[] {
  const { tokens, tags, probabilities = [], entities } = answer as unknown as TagAnswer;
  const found =
    entities ??
    tags.flatMap((type, n) =>
      type === null || type === OUTSIDE ? [] : [{ type, from: n, to: n }],
    );
  const span = (from: number, to: number, type: string | null): TaggedSpan => {
    const shares = probabilities.slice(from, to).filter((share) => share !== null);
    return {
      text: tokens.slice(from, to).join(' '),
      type,
      share: shares.length > 0 ? Math.min(...shares) : null,
    };
  };
  const spans: TaggedSpan[] = [];
  let at = 0;
  for (const { type, from, to } of found) {
    if (from > at) spans.push(span(at, from, null));
    spans.push(span(from, to + 1, type));
    at = to + 1;
  }
  if (at < tokens.length) spans.push(span(at, tokens.length, null));
  return spans;
}

/** Splits a context into the parts before, in and after an answer. Positions count code points. */
export function answerInContext(
  context: string,
  start: number,
  end: number,
): readonly [before: string, answer: string, after: string] {
  const points = [...context];
  return [
    points.slice(0, start).join(''),
    points.slice(start, end).join(''),
    points.slice(end).join(''),
  ];
}
