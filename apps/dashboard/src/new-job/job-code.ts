// The same request in curl, Python, TypeScript and as a command.
import type { CodeTab } from '../ui/code-block.js';

type Body = Readonly<Record<string, unknown>>;

/** Quotes a text for a shell if it needs to be. */
const shell = (text: string): string =>
  /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;

/** Returns a value as a Python literal. */
function python(value: unknown, indent: string): string {
  if (value === null) return 'None';
  if (value === true) return 'True';
  if (value === false) return 'False';
  if (Array.isArray(value)) return `[${value.map((one) => python(one, indent)).join(', ')}]`;
  if (typeof value === 'object') {
    const entries = Object.entries(value as object);
    if (entries.length === 0) return '{}';
    const inner = `${indent}    `;
    const lines = entries.map(([k, v]) => `${inner}${JSON.stringify(k)}: ${python(v, inner)},`);
    return `{\n${lines.join('\n')}\n${indent}}`;
  }
  return JSON.stringify(value);
}

/** Fields that the SDKs know; the others go into `extra_body`. */
const SDK_FIELDS = [
  'model',
  'training_file',
  'validation_file',
  'suffix',
  'seed',
  'method',
  'metadata',
];

/** Removes objects without fields. */
const slim = (body: Body): Body =>
  Object.fromEntries(
    Object.entries(body).filter(
      ([, value]) =>
        !(typeof value === 'object' && value !== null && Object.keys(value).length === 0),
    ),
  );

/** Returns the flags of `graft submit` for a body. */
function flagsOf(body: Body): string[] {
  const flags: string[] = [];
  const flag = (name: string, value: unknown) => {
    if (value !== undefined) flags.push(`${name} ${shell(String(value))}`);
  };
  const set = (path: string, value: unknown) =>
    flags.push(
      `--set ${shell(`${path}=${typeof value === 'string' && !isJson(value) ? value : JSON.stringify(value)}`)}`,
    );
  const { model, training_file, validation_file, suffix, seed, method, peft, graft, ...rest } =
    body;
  flag('-m', model);
  flag('-t', training_file);
  flag('--valid', validation_file);
  flag('--suffix', suffix);
  flag('--seed', seed);
  if (peft === null) flag('--method', 'FULL');
  const { peft_type: type, ...options } = (peft ?? {}) as Body;
  if (type !== undefined && type !== 'LORA') flag('--method', type);
  for (const [name, value] of Object.entries(options)) set(`peft.${name}`, value);
  const { type: kind = 'supervised', ...of } = (method ?? {}) as Body;
  const { hyperparameters = {} } = (of[String(kind)] ?? {}) as Body;
  if (kind !== 'supervised') set('method.type', kind);
  flag('--epochs', (hyperparameters as Body)['n_epochs']);
  flag('--batch-size', (hyperparameters as Body)['batch_size']);
  const { task, task_options: taskOptions = {}, ...others } = (graft ?? {}) as Body;
  flag('--task', task);
  for (const [name, value] of Object.entries(taskOptions as Body))
    set(`graft.task_options.${name}`, value);
  for (const [name, value] of Object.entries(others)) set(`graft.${name}`, value);
  for (const [name, value] of Object.entries(rest)) set(name, value);
  return flags;
}

/** Whether a text would be parsed as JSON, and must be quoted to stay a text. */
function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/**
 * Returns the request of the form in several languages.
 * @param url URL of the API, without /v1
 */
export function jobCode(given: Body, url: string): readonly CodeTab[] {
  const body = slim(given);
  const own = Object.entries(body).filter(([name]) => SDK_FIELDS.includes(name));
  const extra = Object.fromEntries(
    Object.entries(body).filter(([name]) => !SDK_FIELDS.includes(name)),
  );
  const json = JSON.stringify(body, null, 2);
  return [
    {
      title: 'curl',
      code: [
        `curl ${url}/v1/fine_tuning/jobs \\`,
        '  -H "Authorization: Bearer $GRAFT_API_KEY" \\',
        "  -H 'Content-Type: application/json' \\",
        `  -d '${json.replaceAll("'", "'\\''")}'`,
      ].join('\n'),
    },
    {
      title: 'Python',
      code: [
        'import os',
        'from openai import OpenAI',
        '',
        `client = OpenAI(base_url="${url}/v1", api_key=os.environ["GRAFT_API_KEY"])`,
        'job = client.fine_tuning.jobs.create(',
        ...own.map(([name, value]) => `    ${name}=${python(value, '    ')},`),
        ...(Object.keys(extra).length > 0 ? [`    extra_body=${python(extra, '    ')},`] : []),
        ')',
        'print(job.id)',
      ].join('\n'),
    },
    {
      title: 'TypeScript',
      code: [
        "import OpenAI from 'openai';",
        '',
        `const client = new OpenAI({ baseURL: '${url}/v1', apiKey: process.env.GRAFT_API_KEY });`,
        `const body = ${json};`,
        "const job = await client.post<{ id: string }>('/fine_tuning/jobs', { body });",
        'console.log(job.id);',
      ].join('\n'),
    },
    { title: 'CLI', code: ['graft submit', ...flagsOf(body)].join(' \\\n  ') },
  ];
}
