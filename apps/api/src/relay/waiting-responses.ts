import { DomainError } from '@graft/contracts';
import type { ModelResponse } from '@graft/contracts/grpc';

/**
 * Of one answer: 2,048 vectors of 4,096 numbers are 45 million bytes, 32,768 tokens with 20 alternatives each about 55
 * million. Only a worker that does not keep to its limits gets here.
 */
const MAX_BYTES = 96 * 1024 * 1024;
/** What travels between API processes at once. */
const MAX_JOINED = 1024 * 1024;
/** What a piece takes beside its bytes. */
const PER_PIECE = 64;

/**
 * Responses of one answer that its client has not read yet. Those that wait become one with all of their pieces, and of
 * their phases the last remains: what a slow client keeps here is bounded by the length of the answer.
 */
export class WaitingResponses {
  private readonly responses: ModelResponse[] = [];
  private bytes = 0;
  /** Of the last response. */
  private size = 0;
  private tooLong = false;

  add(response: ModelResponse): void {
    const before = this.responses.at(-1);
    if (this.tooLong || (before && isEnd(before))) return;
    const size = sizeOf(response);
    this.bytes += size;
    this.tooLong = this.bytes > MAX_BYTES;
    if (before && !isEnd(response) && this.size + size <= MAX_JOINED) {
      this.size += size;
      before.pieces.push(...response.pieces);
      before.phase = response.phase || before.phase;
    } else {
      this.size = size;
      this.responses.push({ ...response, pieces: [...response.pieces] });
    }
  }

  /** @throws DomainError where more waits than any answer has */
  take(): ModelResponse | undefined {
    if (this.tooLong)
      throw new DomainError(
        'internal_error',
        `the response is longer than the limit of ${MAX_BYTES / 2 ** 20} MiB`,
      );
    const response = this.responses.shift();
    this.bytes -= response ? sizeOf(response) : 0;
    return response;
  }
}

/** An error is the last response, even where the worker does not mark it so. */
const isEnd = ({ last, errorCode }: ModelResponse): boolean => last || errorCode !== '';

const sizeOf = ({ pieces, phase, errorCode, errorMessage }: ModelResponse): number =>
  pieces.reduce(
    (sum, { length }) => sum + PER_PIECE + length,
    phase.length + errorCode.length + errorMessage.length,
  );
