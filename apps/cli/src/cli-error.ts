/** Exit codes of `graft`. 130 (Ctrl-C) is the shell's convention. */
export const EXIT = { failed: 1, usage: 2, unreachable: 3, interrupted: 130 } as const;

/** Error that the user can fix. `graft` prints its message, which says how, and exits with its code. */
export class CliError extends Error {
  constructor(
    message: string,
    readonly exitCode: number = EXIT.failed,
  ) {
    super(message);
    this.name = 'CliError';
  }
}
