import type { TokenLogprob } from '@graft/contracts';

type Token = Pick<TokenLogprob, 'token' | 'bytes' | 'logprob'>;

interface ShownToken {
  readonly token: string;
  readonly logprob: number;
  readonly bytes: number[];
}

const inChat = ({ token, logprob, bytes }: Token): ShownToken => ({
  token,
  logprob,
  bytes: [...bytes],
});

/** Formats log-probabilities for responses. */
export const responseLogprobs = (
  tokens: readonly TokenLogprob[],
): (ShownToken & { readonly top_logprobs: ShownToken[] })[] =>
  tokens.map((one) => ({ ...inChat(one), top_logprobs: one.top.map(inChat) }));

/** Formats log-probabilities for chat completions. */
export const chatLogprobs = (tokens: readonly TokenLogprob[]): object => ({
  content: responseLogprobs(tokens),
  refusal: null,
});

/**
 * Formats log-probabilities for text completions. If several tokens have the same spelling, the most likely one
 * counts.
 */
export const textLogprobs = (tokens: readonly TokenLogprob[]): object => ({
  tokens: tokens.map(({ token }) => token),
  token_logprobs: tokens.map(({ logprob }) => logprob),
  top_logprobs: tokens.map((one) =>
    Object.fromEntries(
      [one, ...one.top.toReversed()].map(({ token, logprob }) => [token, logprob]),
    ),
  ),
  text_offset: tokens.map(({ start }) => start),
});

/** Returns the mean log-probability per token; 0 without tokens. */
export const meanLogprob = (tokens: readonly TokenLogprob[] | null): number =>
  (tokens ?? []).reduce((sum, { logprob }) => sum + logprob, 0) / Math.max(1, tokens?.length ?? 0);
