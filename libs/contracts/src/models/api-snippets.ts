// Code snippets that use a model over the API: curl, and OpenAI's libraries for Python and TypeScript.
import type { CatalogTask, InputKind } from './catalog.js';
import type { ModelUse } from './model-objects.js';

export interface Snippet {
  readonly title: string;
  readonly language: 'sh' | 'python' | 'typescript';
  readonly code: string;
}

type SnippetTask = Pick<CatalogTask, 'inputs' | 'record_formats'>;

const quoted = (text: string): string => JSON.stringify(text);
/** Quotes a text for a shell, without expansion. */
export const shell = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

const MEDIA = {
  image: { name: 'image.jpg', type: 'image/jpeg' },
  audio: { name: 'audio.wav', type: 'audio/wav' },
} as const;

/** Request in each of the three languages. */
interface Request {
  readonly path: string;
  readonly curl: readonly string[];
  readonly python: readonly string[];
  readonly typescript: readonly string[];
}

/** @param url URL of the API, without /v1 */
export function overApi(
  id: string,
  use: ModelUse,
  task: SnippetTask | null,
  url: string,
): readonly Snippet[] {
  const { path, curl, python, typescript } = requestOf(id, use, task);
  const sh = [
    `curl ${shell(`${url}/v1${path}`)} -H "Authorization: Bearer $GRAFT_API_KEY" \\`,
    ...curl,
  ];
  const py = importsFirst([
    'import os',
    'from openai import OpenAI',
    `client = OpenAI(base_url=${quoted(`${url}/v1`)}, api_key=os.environ["GRAFT_API_KEY"])`,
    ...python,
  ]);
  const ts = importsFirst([
    "import OpenAI from 'openai';",
    `const client = new OpenAI({ baseURL: ${quoted(`${url}/v1`)}, apiKey: process.env.GRAFT_API_KEY });`,
    ...typescript,
  ]);
  return [
    { title: 'curl', language: 'sh', code: sh.join('\n') },
    { title: 'Python', language: 'python', code: py.join('\n') },
    { title: 'TypeScript', language: 'typescript', code: ts.join('\n') },
  ];
}

const isImport = (line: string): boolean => /^(import|from) /.test(line);

const importsFirst = (lines: readonly string[]): string[] => [
  ...lines.filter(isImport),
  ...lines.filter((line) => !isImport(line)),
];

function requestOf(id: string, use: ModelUse, task: SnippetTask | null): Request {
  if (use === 'chat') return chat(id);
  if (use === 'transcribe') return transcribe(id);
  const kind = task?.inputs ?? 'tokens';
  const input = kind === 'tokens' ? ofText(task) : ofMedia(kind);
  return use === 'embed' ? embed(id, input) : classify(id, input);
}

const json = (body: object): string[] => [
  `  -H 'Content-Type: application/json' -d ${shell(JSON.stringify(body))}`,
];

function chat(id: string): Request {
  const messages = [{ role: 'user', content: 'Hello' }];
  return {
    path: '/chat/completions',
    curl: json({ model: id, messages }),
    python: [
      'answer = client.chat.completions.create(',
      `    model=${quoted(id)}, messages=[{"role": "user", "content": "Hello"}]`,
      ')',
      'print(answer.choices[0].message.content)',
    ],
    typescript: [
      'const answer = await client.chat.completions.create({',
      `  model: ${quoted(id)},`,
      "  messages: [{ role: 'user', content: 'Hello' }],",
      '});',
      'console.log(answer.choices[0].message.content);',
    ],
  };
}

/** Input of a request, in each of the three languages. */
interface Input {
  /** Value in a JSON body; null: a file is sent as `form`. */
  readonly value: unknown;
  readonly form: string;
  readonly python: { readonly before: readonly string[]; readonly value: string };
  readonly typescript: { readonly before: readonly string[]; readonly value: string };
}

/** Returns a text, or an object if records have more than one key besides their targets. */
function ofText(task: SnippetTask | null): Input {
  const [format] = task?.record_formats ?? [];
  const record = format ? (JSON.parse(format.line) as Record<string, unknown>) : {};
  const inputs = Object.entries(record).filter(([key]) => !format?.learnt.includes(key));
  const value = inputs.length > 1 ? Object.fromEntries(inputs) : 'Hello';
  const literal = { before: [], value: JSON.stringify(value) };
  return { value, form: '', python: literal, typescript: literal };
}

function ofMedia(kind: Exclude<InputKind, 'tokens'>): Input {
  const { name, type } = MEDIA[kind];
  return {
    value: null,
    form: `file=@${name}`,
    python: {
      before: ['import base64', `data = base64.b64encode(open("${name}", "rb").read()).decode()`],
      value: `f"data:${type};base64,{data}"`,
    },
    typescript: {
      before: [
        "import { readFileSync } from 'node:fs';",
        `const data = readFileSync('${name}').toString('base64');`,
      ],
      value: `\`data:${type};base64,\${data}\``,
    },
  };
}

const curlBody = (id: string, { value, form }: Input): string[] =>
  value === null ? formOf(id, form) : json({ model: id, input: value });

/** Uses --form-string, since -F reads a file if the value starts with @ or <. */
const formOf = (id: string, file: string): string[] => [
  `  --form-string ${shell(`model=${id}`)} -F ${file}`,
];

const embed = (id: string, input: Input): Request => ({
  path: '/embeddings',
  curl: curlBody(id, input),
  python: [
    ...input.python.before,
    `answer = client.embeddings.create(model=${quoted(id)}, input=${input.python.value})`,
    'print(answer.data[0].embedding)',
  ],
  typescript: [
    ...input.typescript.before,
    'const answer = await client.embeddings.create({',
    `  model: ${quoted(id)},`,
    `  input: ${input.typescript.value},`,
    '});',
    'console.log(answer.data[0].embedding);',
  ],
});

const classify = (id: string, input: Input): Request => ({
  path: '/classify',
  curl: curlBody(id, input),
  python: [
    ...input.python.before,
    `body = {"model": ${quoted(id)}, "input": ${input.python.value}}`,
    'answer = client.post("/classify", cast_to=object, body=body)',
    'print(answer["data"][0])',
  ],
  typescript: [
    ...input.typescript.before,
    `const body = { model: ${quoted(id)}, input: ${input.typescript.value} };`,
    "const answer = (await client.post('/classify', { body })) as { data: unknown[] };",
    'console.log(answer.data[0]);',
  ],
});

function transcribe(id: string): Request {
  const { name } = MEDIA.audio;
  return {
    path: '/audio/transcriptions',
    curl: formOf(id, `file=@${name}`),
    python: [
      `audio = open("${name}", "rb")`,
      `answer = client.audio.transcriptions.create(model=${quoted(id)}, file=audio)`,
      'print(answer.text)',
    ],
    typescript: [
      "import { createReadStream } from 'node:fs';",
      'const answer = await client.audio.transcriptions.create({',
      `  model: ${quoted(id)},`,
      `  file: createReadStream('${name}'),`,
      '});',
      'console.log(answer.text);',
    ],
  };
}
