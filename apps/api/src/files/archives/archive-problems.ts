import { shorten } from '@graft/contracts';

/** Number of problems that are listed. Further ones are only counted. */
const NAMED = 20;

/** Problems of an archive, by file. */
export class ArchiveProblems {
  private readonly messages: string[] = [];
  private count = 0;

  add(name: string, reason: string): void {
    if (++this.count <= NAMED) this.messages.push(`${safeName(name)}: ${reason}`);
  }

  get none(): boolean {
    return this.count === 0;
  }

  /** Whether further problems would not be listed. */
  get full(): boolean {
    return this.count >= NAMED;
  }

  sentence(): string {
    const more = this.count - NAMED;
    const rest = more > 0 ? [`and ${more.toLocaleString('en')} more`] : [];
    return [...this.messages, ...rest].join('; ');
  }
}

/** Makes an untrusted name safe for a message. */
export const safeName = (name: string): string =>
  shorten(name.replaceAll(/\p{Cc}/gu, '\ufffd').toWellFormed(), 100);
