/** Tokens left in a bucket after a request, and whether there was a token for the request. */
export interface TokenResult {
  readonly tokens: number;
  readonly allowed: boolean;
}
