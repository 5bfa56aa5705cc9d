/** Exit codes of `graft`. 130 (Ctrl-C) comes from the shell's convention. */
export const EXIT = { failed: 1, usage: 2, unreachable: 3, interrupted: 130 } as const;

/** An error a user can act on: printed as one plain line, with the way out, and the process's exit code. */
export class CliError extends Error {
  constructor(
    message: string,
    readonly exitCode: number = EXIT.failed,
  ) {
    super(message);
    this.name = 'CliError';
  }
}
