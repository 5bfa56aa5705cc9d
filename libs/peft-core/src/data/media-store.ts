// What was made of pictures and sounds before training, so that no step waits for a decoder: bytes by content, in a file
// of the run's own folder. Its name is taken away at once, so that whoever is killed leaves nothing behind. It ends before
// the disk does: checkpoints of all runs are written there, too.
import { closeSync, mkdirSync, openSync, readSync, rmSync, statfsSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { DomainError, gigabytes } from '@graft/contracts';
import { refuseBroken } from './broken-lines.js';

/** Bytes that are read when they are wanted. Its fields are hidden: what of an example is in memory, is counted. */
export class StoredBytes {
  readonly #read: () => Uint8Array;

  constructor(read: () => Uint8Array) {
    this.#read = read;
  }

  read(): Uint8Array {
    return this.#read();
  }
}

/** Where media stand, for refusals. */
export interface Origin {
  /** The field that names their file. */
  readonly param: string;
  readonly line: number;
}

/** Bytes that something is to be made of before training: in pieces, so that other runs have their turns in between. */
interface Waiting {
  readonly key: string;
  readonly bytes: StoredBytes;
  readonly work: number;
  readonly becomes: number;
  readonly origin: Origin;
}

/** What else is known of media that something is made of later. */
interface Later {
  /** How much of a piece it is, in bytes of pictures; left out: as many as they have. */
  readonly work?: number;
  /** Bytes that will be kept of it; left out: nobody can tell. */
  readonly becomes?: number;
}

/** Of a disk this is left, as the API leaves it of its own. */
const RESERVE = { share: 0.02, most: 1e9 };

/** @returns what is kept of each, or why it cannot be used; each is written before the next is asked for */
export type Make = (media: readonly Uint8Array[]) => Iterable<Uint8Array | string>;

/** Made of in one piece, or fewer bytes. */
const PIECE = { media: 16, bytes: 8 << 20 };

/** Of runs that were given up before they had any; others close theirs. */
const forgotten = new FinalizationRegistry<number>((file) => closeSync(file));

export class MediaStore {
  readonly #file: number;
  readonly #found = new Map<string, StoredBytes>();
  readonly #waiting: Waiting[] = [];
  readonly #made = new Map<string, StoredBytes>();
  readonly #folder: string;
  /** Bytes that are kept or still to be made, by the field that names their file. */
  readonly #taken = new Map<string, number>();
  /** Bytes that are still to be made. */
  #promised = 0;
  #make: Make | null = null;
  #end = 0;
  #isOpen = true;

  constructor(folder: string) {
    mkdirSync(folder, { recursive: true });
    const path = join(folder, 'media');
    // of one that was killed before it could take the name away
    rmSync(path, { force: true });
    this.#folder = folder;
    this.#file = openSync(path, 'wx+');
    rmSync(path);
    forgotten.register(this, this.#file, this);
  }

  find(key: string): StoredBytes | undefined {
    return this.#found.get(key);
  }

  /** @throws DomainError where the disk has no room for it beside what it keeps */
  add(key: string, bytes: Uint8Array, { param }: Origin): StoredBytes {
    const stored = this.#write(bytes, param);
    this.#found.set(key, stored);
    return stored;
  }

  /**
   * Keeps what is to be made of media later, by `making`; nothing of it can be read before.
   * @param make the same for all
   * @throws DomainError where the disk has no room for it beside what it keeps
   */
  addLater(
    key: string,
    bytes: Uint8Array,
    origin: Origin,
    make: Make,
    { work = bytes.length, becomes = 0 }: Later = {},
  ): StoredBytes {
    this.#make = make;
    this.#promise(becomes, origin);
    this.#waiting.push({ key, bytes: this.#write(bytes, origin.param), work, becomes, origin });
    const later = new StoredBytes(() => (this.#made.get(key) as StoredBytes).read());
    this.#found.set(key, later);
    return later;
  }

  /** Makes what is to be made, a piece at each turn. @throws DomainError naming the lines of what cannot be used */
  *making(onProgress: (share: number) => void): Generator<void, void> {
    const broken = new Map<string, Map<number, string>>();
    for (let at = 0; at < this.#waiting.length;) {
      const piece = this.#piece(at);
      const media = piece.map(({ bytes }) => bytes.read());
      let place = 0;
      for (const made of (this.#make as Make)(media)) {
        const { key, becomes, origin } = piece[place++] as Waiting;
        this.#promise(-becomes, origin);
        if (typeof made !== 'string') {
          this.#made.set(key, this.#write(made, origin.param));
          continue;
        }
        const lines = broken.get(origin.param) ?? new Map<number, string>();
        broken.set(origin.param, lines.set(origin.line, made));
      }
      at += piece.length;
      onProgress(at / this.#waiting.length);
      yield;
    }
    this.#waiting.length = 0;
    for (const [param, lines] of broken) refuseBroken(lines, param);
  }

  #piece(from: number): readonly Waiting[] {
    let [to, work] = [from, 0];
    while (to < this.#waiting.length && to - from < PIECE.media && work < PIECE.bytes)
      work += (this.#waiting[to++] as Waiting).work;
    return this.#waiting.slice(from, to);
  }

  /** Nothing of it can be read afterwards. */
  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    forgotten.unregister(this);
    closeSync(this.#file);
    this.#found.clear();
  }

  #promise(bytes: number, { param }: Origin): void {
    this.#promised += bytes;
    this.#take(bytes, param);
  }

  #take(bytes: number, param: string): void {
    this.#taken.set(param, (this.#taken.get(param) ?? 0) + bytes);
  }

  #write(bytes: Uint8Array, param: string): StoredBytes {
    const [at, { length }] = [this.#end, bytes];
    this.#take(length, param);
    this.#claim(length);
    for (let done = 0; done < length;)
      done += writeSync(this.#file, bytes, done, length - done, at + done);
    this.#end += length;
    return new StoredBytes(() => this.#read(at, length));
  }

  /**
   * Others write to the disk, too: it is looked at each time.
   * @param length about to be written
   * @throws DomainError where it does not fit, with what is to be made: names the file whose media take most
   */
  #claim(length: number): void {
    const { bavail, blocks, bsize } = statfsSync(this.#folder);
    const [free, total] = [bavail * bsize, blocks * bsize];
    const reserve = Math.min(RESERVE.share * total, RESERVE.most);
    const needed = length + this.#promised;
    if (needed <= free - reserve) return;
    const whole = this.#end + needed;
    const isTooLarge = whole > total - reserve;
    const has = isTooLarge
      ? `which has ${gigabytes(total)}`
      : `which has ${gigabytes(Math.max(0, free - reserve))} free after a reserve of ${gigabytes(reserve)} and the ${gigabytes(this.#end)} already written`;
    const message = `the run's images and audio need at least ${gigabytes(whole)} on the worker's disk, ${has}`;
    const [[param] = ['training_file']] = [...this.#taken].sort(([, a], [, b]) => b - a);
    const advice = `${isTooLarge ? '' : 'free disk space or '}use a smaller ${param}`;
    throw new DomainError(isTooLarge ? 'file_too_large' : 'disk_full', `${message}; ${advice}`, param); // prettier-ignore
  }

  #read(at: number, length: number): Uint8Array {
    if (!this.#isOpen)
      throw new DomainError('internal_error', 'the media of a run were read after its end');
    const bytes = new Uint8Array(length);
    for (let done = 0; done < length;) {
      const read = readSync(this.#file, bytes, done, length - done, at + done);
      if (read === 0) throw new DomainError('io_error', 'the media file of a run is truncated');
      done += read;
    }
    return bytes;
  }
}
