import { execFileSync, spawnSync } from 'node:child_process';
import { expect, it } from 'vitest';
import { chatCode } from './chat-code.js';

const body = {
  model: "ft:it's::x",
  messages: [{ role: 'user', content: 'Say "é" $HOME\n`x`' }],
  stop: ['a\\b'],
  response_format: { strict: true, of: null, none: [] },
  temperature: 0.5,
};

it('sends the same body with curl', () => {
  const [{ code } = { code: '' }] = chatCode(body, 'http://127.0.0.1:1');
  // Replaces curl by a command that prints its arguments.
  const output = execFileSync('sh', ['-c', code.replace(/^curl/, "printf '%s\\0'")], {
    env: { GRAFT_API_KEY: 'k' },
  }).toString();
  const args = output.split('\0');
  expect(args).toContain('Authorization: Bearer k');
  expect(JSON.parse(args[args.indexOf('-d') + 1] ?? '')).toEqual(body);
});

it.skipIf(spawnSync('python3', ['--version']).error !== undefined)(
  'sends the same body with Python',
  () => {
    const { code } = chatCode(body, 'http://127.0.0.1:1')[1] ?? { code: '' };
    const call = code.slice(code.indexOf('create(') + 'create'.length, code.lastIndexOf('print('));
    const program = `import json\nprint(json.dumps(dict${call.trim()}))`;
    expect(JSON.parse(execFileSync('python3', ['-c', program]).toString())).toEqual(body);
  },
);

it('sends the same body with TypeScript', () => {
  const { code } = chatCode(body, 'http://127.0.0.1:1')[2] ?? { code: '' };
  const call = /create\((.*)\);\nconsole/s.exec(code)?.[1] ?? '';
  expect(JSON.parse(call)).toEqual(body);
});
