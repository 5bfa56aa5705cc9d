// Weights of a whole model in files of at most 5 GB with an index, as in transformers' save_pretrained.
import { join } from 'node:path';
import { tidy, type Tensor } from '@graft/kernels';
import { pythonJson } from '../python-json.js';
import { writeSafetensors } from '../safetensors.js';
import { INDEX, SINGLE } from './weight-files.js';
import { writeWholeText } from '../whole-file.js';

/** A weight that is created when its file is written. */
export interface LazyTensor {
  readonly bytes: number;
  make(): Tensor;
}

const SHARD_BYTES = 5e9;

/** Returns the names of the files. */
export function writeShards(
  dir: string,
  weights: ReadonlyMap<string, LazyTensor>,
  most = SHARD_BYTES,
): string[] {
  const shards = shardsOf(weights, most);
  const count = String(shards.length).padStart(5, '0');
  const names = shards.map((_, i) =>
    shards.length === 1
      ? SINGLE
      : `model-${String(i + 1).padStart(5, '0')}-of-${count}.safetensors`,
  );
  for (const [i, shard] of shards.entries())
    tidy(() =>
      writeSafetensors(
        join(dir, names[i] as string),
        new Map(shard.map(([name, { make }]) => [name, make()])),
        { format: 'pt' },
      ),
    );
  if (shards.length === 1) return names;
  const places = shards.flatMap((shard, i) => shard.map(([name]) => [name, names[i]] as const));
  const total = [...weights.values()].reduce((sum, { bytes }) => sum + bytes, 0);
  const index = {
    metadata: { total_size: total },
    weight_map: Object.fromEntries(places.sort(([a], [b]) => (a < b ? -1 : 1))),
  };
  writeWholeText(join(dir, INDEX), `${pythonJson(index).trimEnd()}\n`);
  return [...names, INDEX];
}

type Shard = (readonly [name: string, weight: LazyTensor])[];

/** Groups weights into files, in order. A weight larger than the limit has its own file. */
function shardsOf(weights: ReadonlyMap<string, LazyTensor>, most: number): Shard[] {
  const shards: Shard[] = [];
  let free = 0;
  for (const entry of weights) {
    const [, { bytes }] = entry;
    if (shards.length === 0 || bytes > free) {
      shards.push([]);
      free = most;
    }
    (shards.at(-1) as Shard).push(entry);
    free -= bytes;
  }
  return shards.length > 0 ? shards : [[]];
}
