// Code snippets that use a model over the API or in other programs.
import type { ModelOperation } from '../jobs/adapter-operation-names.js';
import type { Catalog, CatalogTask } from './catalog.js';
import { overApi, shell, type Snippet } from './api-snippets.js';
import type { ModelObject, ModelUse } from './model-objects.js';

export { overApi } from './api-snippets.js';

/** Fields of a model object that the snippets depend on. */
export interface UsedModel {
  readonly id: string;
  readonly kind: string;
  /** Endpoints that serve the model; empty for an export. */
  readonly uses: readonly ModelUse[];
  readonly base: string | null;
  /** Operations that the model supports. */
  readonly operations: readonly ModelOperation[];
  /** Highest rank of the LoRA; null if the model is not a LoRA. */
  readonly loraRank: number | null;
  /** Names of the model's files. */
  readonly files: readonly string[];
}

export type UsedTask = Pick<
  CatalogTask,
  'inputs' | 'record_formats' | 'auto_model' | 'auto_peft_model'
>;

/** @param url URL of the API, without /v1 */
export function snippetsOfModel(
  { id, graft }: ModelObject,
  { tasks }: Catalog,
  url: string,
): readonly Snippet[] {
  if (!graft) return [];
  const { kind, uses, base, operations = [], lora_rank: loraRank = null } = graft;
  const files = graft.files.map(({ name }) => name);
  const task = tasks.find(({ name }) => name === graft.task) ?? null;
  return modelSnippets({ id, kind, uses, base, operations, loraRank, files }, task, url);
}

/**
 * @param task entry of the catalog; null if the task of the model is unknown
 * @param url URL of the API, without /v1
 */
export function modelSnippets(
  model: UsedModel,
  task: UsedTask | null,
  url: string,
): readonly Snippet[] {
  const gguf = model.files.find((name) => name.endsWith('.gguf'));
  if (gguf !== undefined) return ofGguf(model, gguf);
  const use = model.uses.includes('chat') ? 'chat' : model.uses[0];
  return [
    ...(use === undefined ? [] : overApi(model.id, use, task, url)),
    ...(task && model.kind === 'adapter' ? [inPeft(model, task)] : []),
    ...(task ? inTransformers(model, task) : []),
    ...(task ? inVllm(model, task) : []),
    ...ofExports(model),
  ];
}

function inPeft({ id, files }: UsedModel, task: UsedTask): Snippet {
  const isMixed = files.includes('0/adapter_config.json');
  const isWhole = !isMixed && !files.includes('config.json');
  const code = isWhole
    ? [
        `from peft import ${task.auto_peft_model}`,
        `model = ${task.auto_peft_model}.from_pretrained("./adapter")`,
      ]
    : onBase(task.auto_model, files, isMixed);
  return {
    title: 'PEFT',
    language: 'python',
    code: [`# graft export ${shell(id)} --out adapter`, ...code].join('\n'),
  };
}

/**
 * Loads the base separately: a config.json next to an adapter holds its labels, and a combination holds its adapters in
 * folders.
 */
function onBase(autoModel: string, files: readonly string[], isMixed: boolean): string[] {
  const hasConfig = files.includes('config.json');
  const hasVocabulary = files.includes('vocab.json');
  const classes = [
    ...(hasConfig ? ['AutoConfig'] : []),
    autoModel,
    ...(hasVocabulary ? ['AutoTokenizer'] : []),
  ];
  const args = [
    'peft.base_model_name_or_path',
    ...(hasConfig ? ['config=AutoConfig.from_pretrained("./adapter")'] : []),
    // The head of the base may have another vocabulary.
    ...(hasVocabulary ? ['ignore_mismatched_sizes=True'] : []),
  ];
  return [
    'from peft import PeftConfig, PeftModel',
    `from transformers import ${classes.join(', ')}`,
    'peft = PeftConfig.from_pretrained("./adapter")',
    ...(isMixed ? ['peft.adapters = {name: f"./adapter/{name}" for name in peft.adapters}'] : []),
    `base = ${autoModel}.from_pretrained(${args.join(', ')})`,
    ...(isMixed ? ['base.config.use_cache = False'] : []),
    'model = PeftModel.from_pretrained(base, "./adapter", config=peft)',
    ...(hasVocabulary ? ['tokenizer = AutoTokenizer.from_pretrained("./adapter")'] : []),
  ];
}

function inTransformers({ id, kind, operations }: UsedModel, task: UsedTask): Snippet[] {
  const isMerged = operations.includes('merge');
  if (kind !== 'full' && !isMerged) return [];
  const saved =
    kind === 'full'
      ? `graft download ${shell(id)} --out model`
      : `graft export ${shell(id)} --format merged --out model`;
  const code = [
    `# ${saved}`,
    `from transformers import ${task.auto_model}`,
    `model = ${task.auto_model}.from_pretrained("./model")`,
  ];
  return [{ title: 'transformers', language: 'python', code: code.join('\n') }];
}

/** Allowed values of vLLM's --max-lora-rank. */
const VLLM_RANKS = [8, 16, 32, 64, 128, 256, 320, 512];

function inVllm({ id, base, operations, loraRank }: UsedModel, task: UsedTask): Snippet[] {
  const rank = VLLM_RANKS.find((most) => most >= (loraRank ?? Infinity));
  // vLLM serves no encoder-decoder, and uses the base's own head.
  const isServed = task.auto_model === 'AutoModelForCausalLM';
  if (!operations.includes('vllm') || !isServed || rank === undefined) return [];
  const code = [
    `graft export ${shell(id)} --format vllm --out adapter`,
    `vllm serve ${shell(base ?? 'BASE')} --enable-lora --max-lora-rank ${rank} --lora-modules tuned=./adapter`,
  ];
  return [{ title: 'vLLM', language: 'sh', code: code.join('\n') }];
}

function ofExports({ id, base, operations }: UsedModel): Snippet[] {
  const whole = `graft export ${shell(id)} --format gguf --quantization Q4_K_M --out tuned`;
  const withBase = [
    `graft export ${shell(base ?? 'BASE')} --format gguf --out base`,
    `graft export ${shell(id)} --format gguf_adapter --out adapter`,
    'llama-server -m base/model-F16.gguf --lora adapter/adapter.gguf --jinja',
  ];
  const ofWhole: Snippet[] = [
    {
      title: 'llama.cpp',
      language: 'sh',
      code: `${whole}\nllama-server -m tuned/model-Q4_K_M.gguf --jinja`,
    },
    {
      title: 'Ollama',
      language: 'sh',
      code: `${whole}\ncd tuned && ollama create tuned -f Modelfile && ollama run tuned`,
    },
  ];
  return [
    ...(operations.includes('gguf') ? ofWhole : []),
    ...(operations.includes('gguf_adapter')
      ? [{ title: 'llama.cpp, with its base', language: 'sh', code: withBase.join('\n') } as const]
      : []),
  ];
}

function ofGguf({ id }: UsedModel, file: string): Snippet[] {
  const save = `graft download ${shell(id)} --out tuned && cd tuned`;
  const isAdapter = file === 'adapter.gguf';
  const model = isAdapter ? '-m base.gguf --lora adapter.gguf' : `-m ${file}`;
  return [
    { title: 'llama.cpp', language: 'sh', code: `${save}\nllama-server ${model} --jinja` },
    {
      title: 'Ollama',
      language: 'sh',
      code: `${save}\nollama create tuned -f Modelfile && ollama run tuned`,
    },
  ];
}
