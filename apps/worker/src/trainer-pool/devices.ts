import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { DomainError } from '@graft/contracts';

/** What trainers may be placed on; `auto`: every GPU there is, else the CPU. */
export type DeviceChoice = 'auto' | readonly string[];

export interface Gpu {
  readonly title: string;
  /** Null where the driver does not tell: such a GPU shares the host's memory. */
  readonly freeBytes: number | null;
  readonly totalBytes: number | null;
}

export interface DevicesOptions {
  readonly choice: DeviceChoice;
  /** Of the host, which is the CPU's. */
  readonly freeMemory: () => number;
  readonly totalMemory: () => number;
  /** In libtorch's order. */
  readonly listGpus?: () => Promise<readonly Gpu[]>;
}

/** The devices of this worker's trainers, each with the memory that it has left. */
export class Devices {
  names: readonly string[] = ['cpu'];
  private gpus: readonly Gpu[] = [];

  constructor(private readonly options: DevicesOptions) {}

  /**
   * @param count of the CUDA devices that a trainer of this build can use
   * @throws DomainError if one was chosen that there is not
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

  /** What people see, e.g. "cpu" or "cuda:0 NVIDIA H100 80GB HBM3". */
  get titles(): string[] {
    return this.names.map((name) => [name, this.gpu(name)?.title].filter(Boolean).join(' '));
  }

  /** Asks the driver anew how much memory is free. */
  async refresh(): Promise<void> {
    if (this.names.every((name) => name === 'cpu')) return;
    const found = await (this.options.listGpus ?? listGpus)();
    // A driver that is late this time: what it said last is nearer than the host's memory.
    if (found.length > 0) this.gpus = found;
  }

  freeBytes(name: string): number {
    return this.gpu(name)?.freeBytes ?? this.options.freeMemory();
  }

  /** Of the device that has most: a base lies on one. */
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

/** What the driver lists and CUDA_VISIBLE_DEVICES leaves, in libtorch's order; none without a driver. */
async function listGpus(): Promise<Gpu[]> {
  let table: string;
  try {
    ({ stdout: table } = await promisify(execFile)(
      'nvidia-smi',
      ['--query-gpu=uuid,memory.free,memory.total,name', '--format=csv,noheader,nounits'],
      { timeout: 5000 },
    ));
  } catch {
    return []; // no NVIDIA driver here
  }
  return readGpus(table, process.env['CUDA_VISIBLE_DEVICES']);
}

/** "[N/A]" is no number. */
const mebibytes = (text: string | undefined): number | null =>
  /^\d+$/.test(text ?? '') ? Number(text) * 2 ** 20 : null;

/** @param visible CUDA_VISIBLE_DEVICES: numbers or beginnings of UUIDs, up to the first that there is not */
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
