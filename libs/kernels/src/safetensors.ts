import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { KernelError, reason } from './errors.js';
import { scalarType } from './dtype.js';
import { native } from './native.js';
import { headerLength, parseHeader } from './safetensors-header.js';
import type { SafetensorsHeader } from './safetensors-header.js';
import { keep } from './scope.js';
import { wrap } from './tensor.js';
import type { Tensor } from './tensor.js';

export interface MappedSafetensors {
  /** Tensors over the file's pages. They belong to this object, not to a scope. */
  readonly tensors: Map<string, Tensor>;
  readonly metadata: Record<string, string>;
  /** Disposes the tensors. The file is unmapped when no view or graph uses it any more. */
  close(): void;
}

/**
 * Maps a safetensors file without copying: pages are read on access. Writing to a tensor changes this process's memory
 * only, never the file. The file must not be truncated while it is mapped.
 * @throws KernelError if the file cannot be read or its header is not strictly valid
 */
export function mapSafetensors(path: string): MappedSafetensors {
  native(); // loads the addon first: a missing build is not the file's fault
  try {
    const fd = openSync(path, 'r');
    try {
      return map(fd);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    throw new KernelError('mapSafetensors', `mapSafetensors(${path}): ${reason(error)}`, {
      cause: error,
    });
  }
}

/** Reads and checks a file's header without mapping its data. @throws KernelError as `mapSafetensors` does */
export function safetensorsHeader(path: string): SafetensorsHeader {
  try {
    const fd = openSync(path, 'r');
    try {
      return readHeader(fd).header;
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    throw new KernelError('safetensorsHeader', `safetensorsHeader(${path}): ${reason(error)}`, {
      cause: error,
    });
  }
}

function readHeader(fd: number): {
  header: SafetensorsHeader;
  fileSize: number;
  dataStart: number;
} {
  const stat = fstatSync(fd);
  if (!stat.isFile()) throw new Error('not a regular file');
  const length = headerLength(readAt(fd, 0, Math.min(8, stat.size)), stat.size);
  const dataStart = 8 + length;
  return {
    header: parseHeader(readAt(fd, 8, length), stat.size - dataStart),
    fileSize: stat.size,
    dataStart,
  };
}

function readAt(fd: number, position: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let done = 0; done < length;) {
    const got = readSync(fd, bytes, done, length - done, position + done);
    if (got === 0) throw new Error('the file was truncated while being read');
    done += got;
  }
  return bytes;
}

function map(fd: number): MappedSafetensors {
  const { header, fileSize, dataStart } = readHeader(fd);
  const mapping = native().mapFile(fd, fileSize);
  const tensors = new Map<string, Tensor>();
  const close = (): void => {
    for (const tensor of tensors.values()) tensor.dispose();
    native().unmap(mapping);
  };
  try {
    for (const { name, dtype, shape, begin } of header.entries) {
      const handle = native().mapTensor(mapping, dataStart + begin, shape, scalarType(dtype));
      tensors.set(name, keep(wrap(handle, shape, dtype)));
    }
  } catch (error) {
    close();
    throw error;
  }
  return { tensors, metadata: { ...header.metadata }, close };
}
