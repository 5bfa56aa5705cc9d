// Generates code that repeats a chat request: curl and the OpenAI SDKs.
export interface ChatCode {
  readonly title: string;
  readonly code: string;
}

/** Quotes a text for a shell, without expansion. */
const shell = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

/** @param url of the API, without /v1 */
export function chatCode(body: Readonly<Record<string, unknown>>, url: string): ChatCode[] {
  const curl = [
    `curl ${shell(`${url}/v1/chat/completions`)} \\`,
    '  -H "Authorization: Bearer $GRAFT_API_KEY" -H \'Content-Type: application/json\' \\',
    `  -d ${shell(JSON.stringify(body, null, 2))}`,
  ];
  const python = [
    'import os',
    'from openai import OpenAI',
    '',
    `client = OpenAI(base_url=${JSON.stringify(`${url}/v1`)}, api_key=os.environ["GRAFT_API_KEY"])`,
    'answer = client.chat.completions.create(',
    ...Object.entries(body).map(([name, value]) => `    ${name}=${inPython(value, '    ')},`),
    ')',
    'print(answer.choices[0].message.content)',
  ];
  const typescript = [
    "import OpenAI from 'openai';",
    '',
    `const client = new OpenAI({ baseURL: ${JSON.stringify(`${url}/v1`)}, apiKey: process.env.GRAFT_API_KEY });`,
    `const answer = await client.chat.completions.create(${JSON.stringify(body, null, 2)});`,
    'console.log(answer.choices[0].message.content);',
  ];
  return [
    { title: 'curl', code: curl.join('\n') },
    { title: 'Python', code: python.join('\n') },
    { title: 'TypeScript', code: typescript.join('\n') },
  ];
}

/** Formats JSON as a Python literal. */
function inPython(value: unknown, indent: string): string {
  const inner = `${indent}    `;
  if (value === null) return 'None';
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  if (typeof value !== 'object') return JSON.stringify(value);
  const isList = Array.isArray(value);
  const parts = isList
    ? (value as unknown[]).map((one) => inPython(one, inner))
    : Object.entries(value).map(
        ([name, one]) => `${JSON.stringify(name)}: ${inPython(one, inner)}`,
      );
  const [open, close] = isList ? '[]' : '{}';
  if (parts.length === 0) return `${open}${close}`;
  return `${open}\n${parts.map((part) => `${inner}${part},\n`).join('')}${indent}${close}`;
}
