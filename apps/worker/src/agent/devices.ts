import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/** "cpu", or an entry per GPU that the driver lists, e.g. "cuda:0 NVIDIA H100 80GB HBM3". */
export async function listDevices(): Promise<string[]> {
  try {
    const { stdout } = await promisify(execFile)(
      'nvidia-smi',
      ['--query-gpu=name', '--format=csv,noheader'],
      { timeout: 5000 },
    );
    const names = stdout
      .split('\n')
      .map((line) => line.trim())
      .filter((line) => line !== '');
    if (names.length > 0) return names.map((name, index) => `cuda:${index} ${name}`);
  } catch {
    // no NVIDIA driver here
  }
  return ['cpu'];
}
