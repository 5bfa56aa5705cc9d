// Turns token ids that arrive one by one into text that can be sent immediately: never part of a character,
// never text that may become a stop string.

export interface TokenDecoder {
  decode(ids: readonly number[], options?: { skipSpecial?: boolean }): string;
}

export class TextStream {
  private readonly ids: number[] = [];
  /** Number of ids that were turned into text; those from `context` on still determine spaces. */
  private read = 0;
  private context = 0;
  /** Decoded text that is not returned yet. */
  private held = '';
  /** Whether a stop string was found. */
  stopped = false;
  /** Number of UTF-16 units decoded. */
  decoded = 0;
  /** Number of UTF-16 units returned. */
  given = 0;

  constructor(
    private readonly decoder: TokenDecoder,
    private readonly stops: readonly string[],
  ) {}

  /** Adds an id; returns the text that may be sent now. */
  push(id: number): string {
    this.ids.push(id);
    const before = this.decode(this.context, this.read);
    const after = this.decode(this.context, this.ids.length);
    // U+FFFD at the end: the bytes of a character are still incomplete.
    if (after.length <= before.length || after.endsWith('\ufffd')) return '';
    this.held += after.slice(before.length);
    this.decoded += after.length - before.length;
    this.context = this.read;
    this.read = this.ids.length;
    const text = this.release();
    this.given += text.length;
    return text;
  }

  /** Returns the remaining text after the last id. */
  end(): string {
    if (this.stopped) return '';
    const before = this.decode(this.context, this.read);
    const rest = this.held + this.decode(this.context, this.ids.length).slice(before.length);
    this.held = '';
    const at = firstStop(rest, this.stops);
    const text = at < 0 ? rest : rest.slice(0, at);
    this.stopped = at >= 0;
    this.given += text.length;
    return text;
  }

  private decode(from: number, to: number): string {
    return this.decoder.decode(this.ids.slice(from, to), { skipSpecial: true });
  }

  private release(): string {
    const at = firstStop(this.held, this.stops);
    if (at >= 0) {
      this.stopped = true;
      const text = this.held.slice(0, at);
      this.held = '';
      return text;
    }
    const safe = this.held.length - openStop(this.held, this.stops);
    const text = this.held.slice(0, safe);
    this.held = this.held.slice(safe);
    return text;
  }
}

function firstStop(text: string, stops: readonly string[]): number {
  const found = stops.map((stop) => text.indexOf(stop)).filter((at) => at >= 0);
  return found.length === 0 ? -1 : Math.min(...found);
}

/** Length of the longest suffix of `text` that is a prefix of a stop string. */
function openStop(text: string, stops: readonly string[]): number {
  for (
    let length = Math.min(text.length, Math.max(0, ...stops.map((stop) => stop.length - 1)));
    length > 0;
    length--
  ) {
    const end = text.slice(-length);
    if (stops.some((stop) => stop.startsWith(end))) return length;
  }
  return 0;
}
