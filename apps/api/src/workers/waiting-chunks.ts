import { DomainError } from '@graft/contracts';
import type { GenerateChunk, TokenLogprob } from '@graft/contracts/grpc';

/** More than an answer of the most tokens: only a worker that does not keep to them gets here. */
const MAX_CHARACTERS = 1024 * 1024;
/** Of vectors and labels: 2,048 vectors of 4,096 numbers are 45 million. */
const MAX_INFERRED = 64 * 1024 * 1024;
/** Numbers beside an answer of the most tokens, each with the most of its likeliest. */
const MAX_LOGPROBS = 32_768 * 21;
/** What travels between API processes at once: characters of three bytes are within a message, too. */
const MAX_JOINED = 1024 * 1024;

/**
 * Chunks of one answer that its client has not read yet. Pieces of text that wait become one, and of phases the last
 * remains: what a slow client keeps here is bounded by the answer's own length.
 */
export class WaitingChunks {
  private readonly chunks: GenerateChunk[] = [];
  private characters = 0;
  private inferred = 0;
  private logprobs = 0;
  /** Of the last chunk. */
  private size = 0;
  private tooLong = false;

  add(chunk: GenerateChunk): void {
    const last = this.chunks.at(-1);
    if (this.tooLong || (last && !isOpen(last))) return;
    this.characters += charactersOf(chunk);
    this.inferred += lengthOf(chunk);
    this.logprobs += numbersOf(chunk);
    this.tooLong =
      this.characters + chunk.phase.length > MAX_CHARACTERS ||
      this.inferred > MAX_INFERRED ||
      this.logprobs > MAX_LOGPROBS;
    const size = sizeOf(chunk);
    if (last && isOpen(last) && isOpen(chunk) && this.size + size <= MAX_JOINED) {
      this.size += size;
      this.chunks[this.chunks.length - 1] = {
        ...chunk,
        text: last.text + chunk.text,
        phase: chunk.phase || last.phase,
        inferred: joined(last, chunk),
        logprobs: together(last, chunk),
        toolCalls: calls(last, chunk),
      };
    } else {
      this.size = size;
      this.chunks.push(chunk);
    }
  }

  /** @throws DomainError where more waits than any answer has */
  take(): GenerateChunk | undefined {
    if (this.tooLong)
      throw new DomainError('internal_error', 'the response is longer than a response may be');
    const chunk = this.chunks.shift();
    this.characters -= chunk ? charactersOf(chunk) : 0;
    this.inferred -= chunk ? lengthOf(chunk) : 0;
    this.logprobs -= chunk ? numbersOf(chunk) : 0;
    return chunk;
  }
}

/** Of text in characters, of log-probabilities in the bytes that a message has at most for them. */
const sizeOf = (chunk: GenerateChunk): number =>
  charactersOf(chunk) + lengthOf(chunk) + bytesOf(chunk.logprobs?.tokens ?? []);

/** Tags, lengths and numbers of a token are up to 32. */
const bytesOf = (tokens: readonly TokenLogprob[]): number =>
  tokens.reduce((sum, { token, bytes, top }) => sum + 32 + 3 * token.length + bytes.length + bytesOf(top), 0); // prettier-ignore

const lengthOf = ({ inferred }: GenerateChunk): number =>
  inferred?.json.reduce((sum, { length }) => sum + length, 0) ?? 0;

const joined = (...[{ inferred: a }, { inferred: b }]: [GenerateChunk, GenerateChunk]) =>
  a && b ? { json: [...a.json, ...b.json] } : (a ?? b);

const charactersOf = ({ text, toolCalls }: GenerateChunk): number =>
  (toolCalls?.calls ?? []).reduce((sum, call) => sum + call.name.length + call.arguments.length, text.length); // prettier-ignore

const calls = (...[{ toolCalls: a }, { toolCalls: b }]: [GenerateChunk, GenerateChunk]) =>
  a && b ? { calls: [...a.calls, ...b.calls] } : (a ?? b);

const numbersOf = ({ logprobs }: GenerateChunk): number =>
  logprobs?.tokens.reduce((sum, { top }) => sum + 1 + top.length, 0) ?? 0;

const together = (...[{ logprobs: a }, { logprobs: b }]: [GenerateChunk, GenerateChunk]) =>
  a && b ? { tokens: [...a.tokens, ...b.tokens] } : (a ?? b);

const isOpen = ({ finishReason }: GenerateChunk): boolean => finishReason === '';
