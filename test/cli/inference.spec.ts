// graft embed and graft classify, with a scripted worker.
import { afterAll, beforeAll, expect, it } from 'vitest';
import { importBase, startTestApi, type TestApi } from '../../apps/api/test/fixture.js';
import { ScriptedWorker, started, step } from '../../apps/api/test/scripted-worker.js';
import { graft, type Done } from './graft.js';

let api: TestApi;
const run = (...args: string[]): Promise<Done> =>
  graft(api.home, args, '', { GRAFT_URL: api.url, GRAFT_API_KEY: api.apiKey });

beforeAll(async () => {
  api = await startTestApi();
  await importBase(api);
});
afterAll(() => api?.close());

async function answering<T>(work: Promise<T>, answers: readonly unknown[]): Promise<T> {
  const worker = await new ScriptedWorker(api).connect();
  const { id } = await worker.nextRequest();
  worker.reply(id, { answers, prompt_tokens: 7 });
  const done = await work;
  worker.vanish();
  return done;
}

const packed = (vector: readonly number[]): string =>
  Buffer.from(Float32Array.from(vector).buffer).toString('base64');

it('embed prints the similarity of texts to the first one, and whole vectors as JSON', async () => {
  const vectors = [
    [1, 0, 0, 0, 0],
    [0.5, -0.5, 0.5, -0.5, 0],
  ];
  const shown = await answering(run('embed', 'tiny', 'one', 'two'), vectors.map(packed));
  expect(shown).toMatchObject({ code: 0, err: '' });
  expect(shown.out).toMatch(/one +1\.000 +1\.000 0\.000 0\.000 0\.000 … \(5\)/);
  expect(shown.out).toMatch(/two +0\.500 +0\.500 -0\.500 0\.500 -0\.500 … \(5\)/);
  const whole = await answering(run('--json', 'embed', 'tiny', 'one', 'two'), vectors.map(packed));
  expect(JSON.parse(whole.out)).toEqual(vectors);
});

it('embed requires an input, and names an image that cannot be read', async () => {
  expect(await run('embed', 'tiny')).toMatchObject({
    code: 2,
    err: expect.stringContaining('specify a text or --image FILE'),
  });
  expect(await run('embed', 'tiny', '--image', 'none.png')).toMatchObject({
    code: 2,
    err: expect.stringContaining('cannot read none.png'),
  });
});

it('the card of an embedding job suggests embed instead of chat', async () => {
  const worker = await new ScriptedWorker(api).connect();
  const line = JSON.stringify({ anchor: 'a', positive: 'b' });
  const file = await api.client.files.create({
    file: new File([`${line}\n`.repeat(12)], 'pairs.jsonl'),
    purpose: 'fine-tune',
  });
  await api.client.fineTuning.jobs.create({
    model: 'tiny',
    training_file: file.id,
    suffix: 'finder',
    graft: { task: 'feature_extraction' },
  } as never);
  const lease = await worker.nextAssignment();
  await worker.report(lease, started(0, 1), step(1));
  await worker.finish(lease, 1);
  worker.vanish();
  const card = await run('jobs', 'finder');
  const [, model = ''] = /graft embed (ft:\S+)/.exec(card.out) ?? [];
  expect(card.out).not.toContain('graft chat');
  const refused = await run('chat', model, 'hello');
  expect(refused).toMatchObject({ code: 1, out: '' });
  expect(refused.err).toContain('use POST /v1/embeddings');
});

it('classify prints the label of each text with its probability', async () => {
  const worker = await new ScriptedWorker(api).connect();
  const lines = ['good', 'bad'].map((label) => JSON.stringify({ text: `so ${label}`, label }));
  const file = await api.client.files.create({
    file: new File([`${lines.join('\n')}\n`.repeat(6)], 'labels.jsonl'),
    purpose: 'fine-tune',
  });
  const { id } = await api.client.fineTuning.jobs.create({
    model: 'tiny',
    training_file: file.id,
    graft: { task: 'seq_cls' },
  } as never);
  const lease = await worker.nextAssignment();
  await worker.report(lease, started(0, 1), step(1));
  await worker.finish(lease, 1);
  worker.vanish();
  const { fine_tuned_model: model } = await api.client.fineTuning.jobs.retrieve(id);
  const input = ['so good', '{"text":"so","text_pair":"bad"}'];
  const answers = [
    { label: 'good', probabilities: { bad: 0.125, good: 0.875 } },
    { label: 'bad', probabilities: { bad: 0.75, good: 0.25 } },
  ];
  const shown = await answering(run('classify', model!, ...input), answers);
  expect(shown).toMatchObject({ code: 0, err: '' });
  expect(shown.out).toMatch(/so good +good +0\.875/);
  expect(shown.out).toMatch(/text_pair.* +bad +0\.750/);
});

it('classify rejects models without labels, and invalid JSON', async () => {
  expect((await run('classify', 'tiny', 'text')).err).toMatch(/not labels; use POST/);
  const broken = await run('classify', 'tiny', '{"question": ');
  expect(broken).toMatchObject({ code: 2, out: '' });
  expect(broken.err).toContain('is not valid JSON');
});
