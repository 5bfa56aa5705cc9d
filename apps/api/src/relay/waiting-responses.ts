import { DomainError } from '@graft/contracts';
import type { ModelResponse } from '@graft/contracts/grpc';

/**
 * Limit of one answer. 2,048 vectors of 4,096 numbers are 45 million bytes, and 32,768 tokens with 20
 * alternatives each are about 55 million. Only a worker that ignores its limits exceeds it.
 */
const MAX_BYTES = 96 * 1024 * 1024;
/** Maximum size of merged responses, which travel as one message between API processes. */
const MAX_JOINED = 1024 * 1024;
/** Overhead of a piece in addition to its bytes. */
const PER_PIECE = 64;

/**
 * Responses of one answer that its client has not read yet. They are merged into one with all their pieces
 * and the last phase, so a slow client keeps at most one answer in memory.
 */
export class WaitingResponses {
  private readonly responses: ModelResponse[] = [];
  private bytes = 0;
  /** Size of the last response in bytes. */
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

  /** @throws DomainError if more waits than an answer may have */
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

/** Whether this is the last response. An error is, even if the worker does not mark it. */
const isEnd = ({ last, errorCode }: ModelResponse): boolean => last || errorCode !== '';

const sizeOf = ({ pieces, phase, errorCode, errorMessage, errorParam }: ModelResponse): number =>
  pieces.reduce(
    (sum, { length }) => sum + PER_PIECE + length,
    phase.length + errorCode.length + errorMessage.length + errorParam.length,
  );
