import { shorten } from '@graft/contracts';

/** Problems that are named; further ones are only counted. */
const NAMED = 20;

/** What is wrong with an archive, file by file. */
export class ArchiveProblems {
  private readonly named: string[] = [];
  private count = 0;

  add(name: string, reason: string): void {
    if (++this.count <= NAMED) this.named.push(`${shownName(name)}: ${reason}`);
  }

  get none(): boolean {
    return this.count === 0;
  }

  /** Nothing that is found from here on would be named. */
  get full(): boolean {
    return this.count >= NAMED;
  }

  sentence(): string {
    const more = this.count - NAMED;
    const rest = more > 0 ? [`and ${more.toLocaleString('en')} more`] : [];
    return [...this.named, ...rest].join('; ');
  }
}

/** A name of a stranger's as it may stand in a message. */
export const shownName = (name: string): string =>
  shorten(name.replaceAll(/\p{Cc}/gu, '\ufffd').toWellFormed(), 100);
