/**
 * Error of a kernel. The message names the operator and its argument shapes, for example
 * `aten::linear(input f32[2,3], weight f32[4,5], bias none): mat1 and mat2 shapes cannot be multiplied (2x3 and 5x4)`.
 */
export class KernelError extends Error {
  override readonly name = 'KernelError';

  constructor(
    readonly op: string,
    message: string,
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }
}

/** Returns the error's message without the "Error:" prefix of a nested exception. */
export function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
