import { open } from 'node:fs/promises';

/** f32 tensor of a safetensors file. */
export interface Weights {
  readonly shape: readonly number[];
  /** Little-endian f32 in row-major order. */
  readonly data: Uint8Array;
}

/** Writes f32 tensors to a safetensors file, in the order of the map. */
export async function writeSafetensors(
  path: string,
  tensors: ReadonlyMap<string, Weights>,
): Promise<void> {
  let end = 0;
  const header: Record<string, unknown> = { __metadata__: { format: 'pt' } };
  for (const [name, { shape, data }] of tensors) {
    header[name] = { dtype: 'F32', shape, data_offsets: [end, end + data.length] };
    end += data.length;
  }
  const text = JSON.stringify(header);
  const json = Buffer.from(text.padEnd(Math.ceil(text.length / 8) * 8));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(json.length));
  const file = await open(path, 'w');
  try {
    for (const bytes of [size, json, ...[...tensors.values()].map(({ data }) => data)])
      await file.writeFile(bytes);
  } finally {
    await file.close();
  }
}
