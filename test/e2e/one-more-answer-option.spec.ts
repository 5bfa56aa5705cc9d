// Checks that an option for chats is declared in one place, the schema of its request
// (libs/contracts/src/messages/requests), and used in one, the trainer. The spec adds such an option and
// sends it through the real API, the gRPC stream, the agent and a trainer process. None of them has a second
// declaration.
import './one-more-answer-option.mjs';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Agent } from '@graft/worker';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import {
  caught,
  importBase,
  startTestApi,
  until,
  type TestApi,
} from '../../apps/api/test/fixture.js';

// The API's bundle has its own copy of the registry. The compiled files share the one that the option was
// added to.
vi.mock('@graft/api', () => import('../../apps/api/dist/index.js'));

const TRAINER = fileURLToPath(new URL('./one-more-answer-option-trainer.mjs', import.meta.url));

let api: TestApi;
let agent: Agent;
const home = mkdtempSync(join(tmpdir(), 'graft-option-'));
beforeAll(async () => {
  api = await startTestApi();
  await importBase(api);
  agent = new Agent({
    settings: {
      address: api.grpcUrl,
      tls: false,
      ca: null,
      token: api.joinToken,
      pool: 'default',
      name: 'spec',
      slots: 1,
      maxChats: 4,
      home,
      threads: 1,
      device: 'auto',
      trainerUser: null,
      cacheBytes: 1e9,
      idleUnloadMs: 60_000,
      offlineLimitMs: 600_000,
      drainMs: 5_000,
      logLevel: 'error',
    },
    log: pino({ level: 'silent' }),
    trainerMain: TRAINER,
  });
  await agent.start();
  await until(
    async () => (await api.get<{ workers_online: number }>('/overview')).workers_online === 1,
  );
});
afterAll(async () => {
  await agent?.close();
  await api?.close();
  rmSync(home, { recursive: true, force: true });
});

const chat = { model: 'tiny', temperature: 0, max_tokens: 24 };

async function said(more: object): Promise<string> {
  const messages = [{ role: 'user' as const, content: 'what is 3 plus 3?' }];
  const answer = await api.client.chat.completions.create({ ...chat, ...more, messages });
  return answer.choices[0]?.message.content ?? '';
}

it('is sent to the trainer with a chat, and changes the answer', async () => {
  const plain = await said({});
  expect(plain).not.toBe(plain.toUpperCase());
  expect(await said({ shout: true })).toBe(plain.toUpperCase());
  expect(await said({ shout: null })).toBe(plain);
});

it('is sent with a completion, too', async () => {
  const text = async (more: object): Promise<string> => {
    const prompt = 'what is 3 plus 3?';
    const answer = await api.client.completions.create({ ...chat, ...more, prompt });
    return answer.choices[0]?.text ?? '';
  };
  const plain = await text({});
  expect(plain).not.toBe(plain.toUpperCase());
  expect(await text({ shout: true })).toBe(plain.toUpperCase());
});

it('is rejected by name if its value is invalid', async () => {
  expect(await caught(said({ shout: 'loudly' }))).toMatchObject({
    status: 400,
    code: 'invalid_value',
    param: 'shout',
  });
});

it('is in the OpenAPI document', async () => {
  const response = await fetch(`${api.url}/docs-json`);
  expect(await response.text()).toContain('The answer in capitals');
});
