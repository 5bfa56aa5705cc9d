/** Returns the entities of a token classification in one line, or each tagged word if it has none; null for other results. */
export function taggedText(answer: Readonly<Record<string, unknown>>): string | null {
  const { tokens, tags, entities } = answer;
  if (!Array.isArray(tokens) || !Array.isArray(tags)) return null;
  const found = Array.isArray(entities)
    ? (entities as readonly { readonly text: string; readonly type: string }[]).map(
        ({ text, type }) => `${text} (${type})`,
      )
    : (tokens as unknown[]).flatMap((word, i) =>
        typeof tags[i] === 'string' ? [`${String(word)} (${tags[i]})`] : [],
      );
  return found.join(', ') || 'none';
}
