// The weights of a Hugging Face folder: model.safetensors, or several files with an index. Tensors that can
// be used directly from the file are mapped; all others are read on demand and not cached.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import {
  copy_,
  device,
  empty,
  fromBytes,
  KernelError,
  mapSafetensors,
  narrow,
  noGrad,
  safetensorsHeader,
  tidy,
  view,
} from '@graft/kernels';
import type { Dtype, MappedSafetensors, Tensor } from '@graft/kernels';
import type { Tensors } from '../../nn/hf-files.js';
import { FileCursor } from '../../data/gguf/file-cursor.js';
import { fullNames, INDEX, invalid, weightFiles } from './weight-files.js';

export interface Weights extends Tensors {
  /** Full names: the base's prefix is restored if a file does not have it. */
  readonly names: readonly string[];
  close(): void;
}

/** A tensor in a file. */
interface Place {
  readonly file: SafetensorsFile;
  /** The tensor's name in the file. */
  readonly name: string;
}

/**
 * Opens the files; weights are read on demand.
 * @param inPlace dtype of tensors that are mapped instead of copied, on the CPU; null if none are
 * @throws DomainError `invalid_model` naming the file
 */
export function openCheckpoint(folder: string, inPlace: Dtype | null): Weights {
  const files: SafetensorsFile[] = [];
  const close = (): void => files.forEach((file) => file.close());
  try {
    const found = new Map<string, Place>();
    for (const [name, listed] of weightFiles(folder)) {
      const file = new SafetensorsFile(join(folder, name), device() === 'cpu' ? inPlace : null);
      files.push(file);
      const missing = listed.find((tensor) => !file.has(tensor));
      if (missing !== undefined)
        throw invalid(`${INDEX} lists "${missing}" in ${name}, which does not contain it`);
      for (const tensor of file.names) {
        if (found.has(tensor)) throw invalid(`the tensor "${tensor}" is in two files`);
        found.set(tensor, { file, name: tensor });
      }
    }
    const named = fullNames(found);
    return {
      names: [...named.keys()],
      has: (name) => named.has(name),
      get(name) {
        const place = named.get(name);
        return place?.file.tensor(place.name);
      },
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

class SafetensorsFile {
  readonly #entries: ReadonlyMap<string, ReturnType<typeof safetensorsHeader>['entries'][number]>;
  readonly #cursor: FileCursor;
  /** Offset of the first tensor's bytes. */
  readonly #start: number;
  #mapped: MappedSafetensors | undefined;

  constructor(
    private readonly path: string,
    private readonly inPlace: Dtype | null,
  ) {
    const { entries } = readable(path, () => safetensorsHeader(path));
    this.#entries = new Map(entries.map((entry) => [entry.name, entry]));
    this.#cursor = new FileCursor(path);
    this.#start = this.#cursor.size - entries.reduce((most, { end }) => Math.max(most, end), 0);
  }

  get names(): Iterable<string> {
    return this.#entries.keys();
  }

  has(name: string): boolean {
    return this.#entries.has(name);
  }

  tensor(name: string): Tensor | undefined {
    const entry = this.#entries.get(name);
    if (!entry) return undefined;
    const { dtype, shape, begin, end } = entry;
    if (dtype === this.inPlace) {
      this.#mapped ??= readable(this.path, () => mapSafetensors(this.path));
      return this.#mapped.tensors.get(name);
    }
    const read = (from: number, to: number, dims: readonly number[]): Tensor =>
      fromBytes(this.#cursor.read(this.#start + from, to - from, buffer(to - from)), dims, dtype);
    if (end - begin <= STRETCH) return read(begin, end, shape);
    return noGrad(() =>
      tidy(() => {
        const count = shape.reduce((product, n) => product * n, 1);
        const all = empty([count], dtype);
        const width = (end - begin) / count;
        for (let at = 0; at < count; at += STRETCH / width) {
          const n = Math.min(STRETCH / width, count - at);
          const from = begin + at * width;
          tidy(() => copy_(narrow(all, 0, at, n), read(from, from + n * width, [n])));
        }
        return view(all, shape);
      }),
    );
  }

  close(): void {
    this.#cursor.close();
    this.#mapped?.close();
  }
}

/** Maximum number of bytes per read. */
const STRETCH = 1 << 22;

let space: Buffer<ArrayBuffer> | undefined;

/**
 * One buffer for all reads: separate buffers would add up to another copy of the model before garbage
 * collection.
 */
function buffer(bytes: number): Buffer<ArrayBuffer> {
  space ??= Buffer.allocUnsafeSlow(STRETCH);
  return space.subarray(0, bytes);
}

function readable<T>(path: string, open: () => T): T {
  try {
    return open();
  } catch (error) {
    if (error instanceof KernelError && existsSync(path)) throw invalid(error.message);
    throw error;
  }
}
