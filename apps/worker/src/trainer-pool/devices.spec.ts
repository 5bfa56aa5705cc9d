import { describe, expect, it } from 'vitest';
import { Devices, readGpus, type DeviceChoice } from './devices.js';

const TABLE = `GPU-aaaa, 70000, 81559, NVIDIA H100 80GB HBM3
GPU-bbbb, 1000, 24564, NVIDIA GeForce RTX 4090
`;

const devices = async (choice: DeviceChoice, count: number) => {
  const all = new Devices({
    choice,
    freeMemory: () => 4e9,
    totalMemory: () => 8e9,
    listGpus: () => Promise.resolve(readGpus(TABLE, undefined)),
  });
  await all.open(count);
  return all;
};

describe('the GPUs that the driver lists', () => {
  it.each([
    [undefined, ['NVIDIA H100 80GB HBM3', 'NVIDIA GeForce RTX 4090']],
    ['1,0', ['NVIDIA GeForce RTX 4090', 'NVIDIA H100 80GB HBM3']],
    ['GPU-b', ['NVIDIA GeForce RTX 4090']],
    ['0,7,1', ['NVIDIA H100 80GB HBM3']],
    ['', []],
  ])('are in the order of CUDA_VISIBLE_DEVICES=%s', (visible, titles) => {
    expect(readGpus(TABLE, visible).map(({ title }) => title)).toEqual(titles);
  });
});

describe('the devices of a worker', () => {
  it('are all GPUs that libtorch can use, with their own memory', async () => {
    const all = await devices('auto', 2);
    expect(all.titles).toEqual(['cuda:0 NVIDIA H100 80GB HBM3', 'cuda:1 NVIDIA GeForce RTX 4090']);
    expect(all.freeBytes('cuda:1')).toBe(1000 * 2 ** 20);
    expect(all.mostFreeBytes).toBe(70000 * 2 ** 20);
    expect(all.totalBytes).toBe((81559 + 24564) * 2 ** 20);
  });

  it('are the CPU without usable GPUs or if it is chosen', async () => {
    for (const all of [await devices('auto', 0), await devices(['cpu'], 2)]) {
      expect(all.titles).toEqual(['cpu']);
      expect([all.mostFreeBytes, all.totalBytes]).toEqual([4e9, 8e9]);
    }
  });

  it('are the chosen ones, which must exist', async () => {
    expect((await devices(['cuda:1'], 2)).names).toEqual(['cuda:1']);
    await expect(devices(['cuda:2'], 2)).rejects.toThrow(
      '--device cuda:2 does not exist: libtorch can use cuda:0, cuda:1 here',
    );
    await expect(devices(['cuda:0'], 0)).rejects.toThrow('libtorch can use no GPU here');
  });

  it('keep their last known memory while the driver does not respond', async () => {
    const tables = [TABLE, ''];
    const all = new Devices({
      choice: ['cuda:1'],
      freeMemory: () => 4e12,
      totalMemory: () => 8e12,
      listGpus: () => Promise.resolve(readGpus(tables.shift() ?? '', undefined)),
    });
    await all.open(2);
    await all.refresh();
    expect(tables).toEqual([]);
    expect([all.freeBytes('cuda:1'), all.totalBytes]).toEqual([1000 * 2 ** 20, 24564 * 2 ** 20]);
  });

  it("share the host's memory if the driver reports none of their own", async () => {
    const all = new Devices({
      choice: 'auto',
      freeMemory: () => 4e9,
      totalMemory: () => 8e9,
      listGpus: () => Promise.resolve(readGpus('GPU-cccc, [N/A], [N/A], NVIDIA GB10\n', undefined)),
    });
    await all.open(1);
    expect(all.titles).toEqual(['cuda:0 NVIDIA GB10']);
    expect([all.mostFreeBytes, all.totalBytes]).toEqual([4e9, 8e9]);
  });
});
