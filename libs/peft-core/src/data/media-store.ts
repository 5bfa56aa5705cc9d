// Stores the preprocessed images and audio of a run, so that no training step waits for a decoder: bytes by content, in
// a file in the run's own folder. The file is unlinked immediately, so that a killed process leaves nothing behind. The
// store stops before the disk is full, because checkpoints of all runs are written there, too.
import { closeSync, mkdirSync, openSync, readSync, rmSync, statfsSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { DomainError, gigabytes } from '@graft/contracts';
import { refuseBroken } from './broken-lines.js';

/** Stored bytes, read on demand. The fields are private because an example's memory size counts its visible fields. */
export class StoredBytes {
  readonly #read: () => Uint8Array;

  constructor(read: () => Uint8Array) {
    this.#read = read;
  }

  read(): Uint8Array {
    return this.#read();
  }
}

/** Position of media in the input, for error messages. */
export interface Origin {
  /** Parameter that names the file. */
  readonly param: string;
  readonly line: number;
}

/** Media to process before training, in batches so that other runs get their turns in between. */
interface Waiting {
  readonly key: string;
  readonly bytes: StoredBytes;
  readonly work: number;
  readonly becomes: number;
  readonly origin: Origin;
}

/** Further properties of media that are processed later. */
interface Later {
  /** Amount of work in a batch, in bytes of images. The default is the size of the media. */
  readonly work?: number;
  /** Number of bytes that the result will have. Unset if it is unknown. */
  readonly becomes?: number;
}

/** Disk space to leave free; the API leaves the same amount on its own disk. */
const RESERVE = { share: 0.02, most: 1e9 };

/**
 * Processes a batch of media. Each result is written before the next one is requested.
 * @returns for each medium, the bytes to store or why it cannot be used
 */
export type Make = (media: readonly Uint8Array[]) => Iterable<Uint8Array | string>;

/** Maximum size of a batch, in media and in bytes. */
const PIECE = { media: 16, bytes: 8 << 20 };

/** Closes the files of stores that were abandoned before they were closed. */
const forgotten = new FinalizationRegistry<number>((file) => closeSync(file));

export class MediaStore {
  readonly #file: number;
  readonly #found = new Map<string, StoredBytes>();
  readonly #waiting: Waiting[] = [];
  readonly #made = new Map<string, StoredBytes>();
  readonly #folder: string;
  /** Bytes stored or still to be produced, by the parameter that names their file. */
  readonly #taken = new Map<string, number>();
  /** Bytes still to be produced. */
  #promised = 0;
  #make: Make | null = null;
  #end = 0;
  #isOpen = true;

  constructor(folder: string) {
    mkdirSync(folder, { recursive: true });
    const path = join(folder, 'media');
    // A process that was killed before it could unlink the file leaves it behind.
    rmSync(path, { force: true });
    this.#folder = folder;
    this.#file = openSync(path, 'wx+');
    rmSync(path);
    forgotten.register(this, this.#file, this);
  }

  find(key: string): StoredBytes | undefined {
    return this.#found.get(key);
  }

  /** Stores bytes under their key. @throws DomainError if the disk has no space for them */
  add(key: string, bytes: Uint8Array, { param }: Origin): StoredBytes {
    const stored = this.#write(bytes, param);
    this.#found.set(key, stored);
    return stored;
  }

  /**
   * Registers media to be processed later by `making`. The result cannot be read before that.
   * @param make must be the same function for all media
   * @throws DomainError if the disk has no space for the result
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

  /** Processes the registered media, one batch per turn. @throws DomainError that names the lines of unusable media */
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

  /** Closes the file. Nothing can be read from it afterwards. */
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
   * Checks that the disk has enough space. Other processes write to the disk, too, so each call reads its free space.
   * @param length bytes about to be written
   * @throws DomainError if they and the pending results do not fit; names the file whose media take the most space
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
