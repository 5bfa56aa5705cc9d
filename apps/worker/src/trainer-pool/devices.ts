import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { DomainError } from '@graft/contracts';

/** Devices that trainers may use; `auto`: all GPUs, or the CPU if there are none. */
export type DeviceChoice = 'auto' | readonly string[];

export interface Gpu {
  readonly title: string;
  /** Free memory; null if the driver does not report it, as for a GPU that shares the host's memory. */
  readonly freeBytes: number | null;
  readonly totalBytes: number | null;
}

export interface DevicesOptions {
  readonly choice: DeviceChoice;
  /** Free memory of the host, in bytes. */
  readonly freeMemory: () => number;
  readonly totalMemory: () => number;
  /** Lists the GPUs in libtorch's order. */
  readonly listGpus?: () => Promise<readonly Gpu[]>;
}

/** Devices of this worker's trainers, and their memory. */
export class Devices {
  names: readonly string[] = ['cpu'];
  private gpus: readonly Gpu[] = [];

  constructor(private readonly options: DevicesOptions) {}

  /**
   * @param count number of CUDA devices that a trainer of this build can use
   * @throws DomainError if a chosen device does not exist
   */
  async open(count: number): Promise<void> {
    const { choice } = this.options;
    const all = Array.from({ length: count }, (_, index) => `cuda:${index}`);
    if (choice === 'auto') this.names = count > 0 ? all : ['cpu'];
    else {
      const missing = choice.find((name) => name !== 'cpu' && !all.includes(name));
      if (missing !== undefined)
        throw new DomainError(
          'invalid_value',
          `--device ${missing} does not exist: libtorch can use ${all.join(', ') || 'no GPU'} here`,
          'device',
        );
      this.names = choice;
    }
    await this.refresh();
  }

  /** Titles such as "cpu" or "cuda:0 NVIDIA H100 80GB HBM3". */
  get titles(): string[] {
    return this.names.map((name) => this.titleOf(name));
  }

  titleOf(name: string): string {
    return [name, this.gpu(name)?.title].filter(Boolean).join(' ');
  }

  /** Queries the driver for the free memory of the GPUs. */
  async refresh(): Promise<void> {
    if (this.names.every((name) => name === 'cpu')) return;
    const found = await (this.options.listGpus ?? listGpus)();
    // After a timeout, the last figures are better than the host's memory.
    if (found.length > 0) this.gpus = found;
  }

  freeBytes(name: string): number {
    return this.gpu(name)?.freeBytes ?? this.options.freeMemory();
  }

  /** Free memory of the device that has most; a base is on a single device. */
  get mostFreeBytes(): number {
    return Math.max(...this.names.map((name) => this.freeBytes(name)));
  }

  totalBytesOf(name: string): number {
    return this.gpu(name)?.totalBytes ?? this.options.totalMemory();
  }

  get totalBytes(): number {
    return this.names.reduce((sum, name) => sum + this.totalBytesOf(name), 0);
  }

  private gpu(name: string): Gpu | undefined {
    return name === 'cpu' ? undefined : this.gpus[Number(name.slice('cuda:'.length))];
  }
}

/** Lists the GPUs that CUDA_VISIBLE_DEVICES allows, in libtorch's order; none without a driver. */
async function listGpus(): Promise<Gpu[]> {
  let table: string;
  try {
    ({ stdout: table } = await promisify(execFile)(
      'nvidia-smi',
      ['--query-gpu=uuid,memory.free,memory.total,name', '--format=csv,noheader,nounits'],
      { timeout: 5000 },
    ));
  } catch {
    return []; // no NVIDIA driver
  }
  return readGpus(table, process.env['CUDA_VISIBLE_DEVICES']);
}

/** Parses mebibytes; null for "[N/A]". */
const mebibytes = (text: string | undefined): number | null =>
  /^\d+$/.test(text ?? '') ? Number(text) * 2 ** 20 : null;

/** @param visible CUDA_VISIBLE_DEVICES: indices or UUID prefixes; entries after the first unknown one are ignored */
export function readGpus(table: string, visible: string | undefined): Gpu[] {
  const rows = table
    .split('\n')
    .map((line) => line.split(',').map((cell) => cell.trim()))
    .filter((cells) => cells.length >= 4)
    .map(([uuid = '', free, total, ...name]) => ({
      uuid,
      title: name.join(', '),
      freeBytes: mebibytes(free),
      totalBytes: mebibytes(total),
    }));
  if (visible === undefined) return rows;
  const chosen: Gpu[] = [];
  for (const one of visible.split(',').map((part) => part.trim())) {
    const row = /^\d+$/.test(one)
      ? rows[Number(one)]
      : rows.find(({ uuid }) => one !== '' && uuid.startsWith(one));
    if (row === undefined) break;
    chosen.push(row);
  }
  return chosen;
}
