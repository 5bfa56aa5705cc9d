// How a model is used, as text to copy: over the API, and by the programs that its files are for. Nothing of it is run here.

/** What of a model object they depend on. */
export interface UsedModel {
  readonly id: string;
  readonly kind: string;
  /** By `POST /chat/completions` and the like; empty of an export. */
  readonly uses: readonly string[];
  readonly base: string | null;
  /** Names of its files. */
  readonly files: readonly string[];
}

export interface Snippet {
  readonly title: string;
  readonly language: 'sh' | 'python' | 'typescript';
  readonly code: string;
}

/** @param url of the API, without /v1 */
export function modelSnippets(model: UsedModel, url: string): readonly Snippet[] {
  const gguf = model.files.find((name) => name.endsWith('.gguf'));
  if (gguf !== undefined) return ofGguf(model, gguf);
  const chats = model.uses.includes('chat') ? overApi(model.id, url) : [];
  return [...chats, ...(model.kind === 'adapter' && chats.length > 0 ? ofAdapter(model) : [])];
}

const quoted = (text: string): string => JSON.stringify(text);
/** For a shell: nothing in it is expanded. */
const shell = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

function overApi(id: string, url: string): Snippet[] {
  const body = JSON.stringify({ model: id, messages: [{ role: 'user', content: 'Hello' }] });
  const curl = [
    `curl ${shell(`${url}/v1/chat/completions`)} \\`,
    '  -H "Authorization: Bearer $GRAFT_API_KEY" -H \'Content-Type: application/json\' \\',
    `  -d ${shell(body)}`,
  ];
  const python = [
    'import os',
    'from openai import OpenAI',
    `client = OpenAI(base_url=${quoted(`${url}/v1`)}, api_key=os.environ["GRAFT_API_KEY"])`,
    'answer = client.chat.completions.create(',
    `    model=${quoted(id)}, messages=[{"role": "user", "content": "Hello"}]`,
    ')',
    'print(answer.choices[0].message.content)',
  ];
  const typescript = [
    "import OpenAI from 'openai';",
    `const client = new OpenAI({ baseURL: ${quoted(`${url}/v1`)}, apiKey: process.env.GRAFT_API_KEY });`,
    'const answer = await client.chat.completions.create({',
    `  model: ${quoted(id)},`,
    "  messages: [{ role: 'user', content: 'Hello' }],",
    '});',
    'console.log(answer.choices[0].message.content);',
  ];
  return [
    { title: 'curl', language: 'sh', code: curl.join('\n') },
    { title: 'Python', language: 'python', code: python.join('\n') },
    { title: 'TypeScript', language: 'typescript', code: typescript.join('\n') },
  ];
}

/** Of one that is made of adapters, which lie in folders of its own. */
const mixed = (base: string | null): string[] => [
  'from peft import PeftConfig, PeftModel',
  'from transformers import AutoModelForCausalLM',
  'config = PeftConfig.from_pretrained("./adapter")',
  'config.adapters = {name: f"./adapter/{name}" for name in config.adapters}',
  `base = AutoModelForCausalLM.from_pretrained(${quoted(base ?? 'BASE')})`,
  'base.config.use_cache = False',
  'model = PeftModel.from_pretrained(base, "./adapter", config=config)',
];

function ofAdapter({ id, base, files }: UsedModel): Snippet[] {
  const peft = [
    'from peft import AutoPeftModelForCausalLM',
    'model = AutoPeftModelForCausalLM.from_pretrained("./adapter")',
  ];
  const exported = `# graft export ${shell(id)} --out adapter`;
  const isMixed = files.includes('0/adapter_config.json');
  const inPython: Snippet = {
    title: 'PEFT',
    language: 'python',
    code: [exported, ...(isMixed ? mixed(base) : peft)].join('\n'),
  };
  // neither merged nor one LoRA
  if (isMixed) return [inPython];
  const vllm = [
    `graft export ${shell(id)} --format vllm --out adapter`,
    `vllm serve ${shell(base ?? 'BASE')} --enable-lora --max-lora-rank 64 --lora-modules tuned=./adapter`,
  ];
  const llama = [
    `graft export ${shell(id)} --format gguf --quantization Q4_K_M --out tuned`,
    'llama-server -m tuned/model-Q4_K_M.gguf --jinja',
  ];
  const ollama = [
    `graft export ${shell(id)} --format gguf --quantization Q4_K_M --out tuned`,
    'cd tuned && ollama create tuned -f Modelfile && ollama run tuned',
  ];
  return [
    inPython,
    { title: 'vLLM', language: 'sh', code: vllm.join('\n') },
    { title: 'llama.cpp', language: 'sh', code: llama.join('\n') },
    { title: 'Ollama', language: 'sh', code: ollama.join('\n') },
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
