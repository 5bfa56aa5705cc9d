// Streams the transcript of an audio clip that is transcribed in windows.

/** Scripts that put no spaces between words. */
const JOINED = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]/u; // prettier-ignore

/**
 * Joins the text of consecutive windows. It delays only spaces, and separates the words of two windows.
 */
export class JoinedWindows {
  private last = '';
  private pendingSpaces = '';
  private isCut = false;

  push(text: string): string {
    const whole = this.pendingSpaces + text;
    const trimmed = whole.trimEnd();
    if (trimmed === '') {
      this.pendingSpaces = this.last === '' ? '' : whole;
      return '';
    }
    this.pendingSpaces = whole.slice(trimmed.length);
    const next = this.last === '' ? trimmed.trimStart() : this.spaced(trimmed);
    this.isCut = false;
    this.last = next.at(-1) ?? '';
    return next;
  }

  /** Starts the next window. */
  cut(): void {
    this.isCut = true;
  }

  /**
   * Puts at most one space between two windows, whatever the first one ends and the second one starts with.
   */
  private spaced(text: string): string {
    if (!this.isCut) return text;
    const next = text.trimStart();
    const isJoined = JOINED.test(this.last) && JOINED.test(next[0] as string);
    return isJoined && next === text ? text : ` ${next}`;
  }
}
