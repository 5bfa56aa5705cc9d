// What was made of pictures and sounds before training, so that no step waits for a decoder: bytes by content, in a file
// of the run's own folder. Its name is taken away at once, so that whoever is killed leaves nothing behind.
import { closeSync, mkdirSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { DomainError } from '@graft/contracts';

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

/** Of runs that were given up before they had any; others close theirs. */
const forgotten = new FinalizationRegistry<number>((file) => closeSync(file));

export class MediaStore {
  readonly #file: number;
  readonly #found = new Map<string, StoredBytes>();
  #end = 0;
  #isOpen = true;

  constructor(folder: string) {
    mkdirSync(folder, { recursive: true });
    const path = join(folder, 'media');
    this.#file = openSync(path, 'wx+');
    rmSync(path);
    forgotten.register(this, this.#file, this);
  }

  find(key: string): StoredBytes | undefined {
    return this.#found.get(key);
  }

  add(key: string, bytes: Uint8Array): StoredBytes {
    const [at, { length }] = [this.#end, bytes];
    for (let done = 0; done < length;)
      done += writeSync(this.#file, bytes, done, length - done, at + done);
    this.#end += length;
    const stored = new StoredBytes(() => this.#read(at, length));
    this.#found.set(key, stored);
    return stored;
  }

  /** Nothing of it can be read afterwards. */
  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    forgotten.unregister(this);
    closeSync(this.#file);
    this.#found.clear();
  }

  #read(at: number, length: number): Uint8Array {
    if (!this.#isOpen)
      throw new DomainError('internal_error', 'the media of a run are read after it');
    const bytes = new Uint8Array(length);
    for (let done = 0; done < length;) {
      const read = readSync(this.#file, bytes, done, length - done, at + done);
      if (read === 0) throw new DomainError('io_error', 'the media of a run are cut short');
      done += read;
    }
    return bytes;
  }
}
