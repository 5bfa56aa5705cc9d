// The text of a sound that is heard in windows, as it comes.

/** Scripts whose words are not set apart. */
const JOINED = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]/u; // prettier-ignore

/** Text of one window after another: nothing but spaces is held back, and words stay apart. */
export class Spoken {
  private last = '';
  private held = '';
  private isCut = false;

  push(text: string): string {
    const whole = this.held + text;
    const told = whole.trimEnd();
    if (told === '') {
      this.held = this.last === '' ? '' : whole;
      return '';
    }
    this.held = whole.slice(told.length);
    const next = this.last === '' ? told.trimStart() : this.spaced(told);
    this.isCut = false;
    this.last = next.at(-1) ?? '';
    return next;
  }

  /** Another window follows. */
  cut(): void {
    this.isCut = true;
  }

  /** Between two windows one space at most, whatever the first ended and the second began with. */
  private spaced(text: string): string {
    if (!this.isCut) return text;
    const next = text.trimStart();
    const isJoined = JOINED.test(this.last) && JOINED.test(next[0] as string);
    return isJoined && next === text ? text : ` ${next}`;
  }
}
