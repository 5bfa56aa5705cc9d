import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { ChildProcess } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { FileRevisionObject } from '@graft/contracts';
import { writeChats, writeTinyBase } from '../tiny-base.js';
import { dataUrl, png } from '../../apps/api/test/media.js';
import { unzip } from '../unzip.js';
import { API, cleanEnv, CLI, graft, startUntil, type Done } from './graft.js';

// Commands against a real API with its embedded PostgreSQL, without a worker.
let home: string;
let api: ChildProcess;
const run = (...args: string[]): Promise<Done> => graft(home, args);

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), 'graft-cli-'));
  chmodSync(home, 0o755);
  const args = ['--home', home, '--port', '0', '--grpc-port', '0'];
  ({ child: api } = await startUntil(API, args, cleanEnv(), '"grpc_url"'));
});

afterAll(async () => {
  if (api.exitCode === null) {
    api.kill('SIGTERM');
    await once(api, 'exit');
  }
  rmSync(home, { recursive: true, force: true });
});

const chat = (text: string): string =>
  JSON.stringify({
    messages: [
      { role: 'user', content: text },
      { role: 'assistant', content: 'ok' },
    ],
  });

describe('graft, against a running API', () => {
  it('reads credentials from the home folder, where only the owner can read them', async () => {
    expect(statSync(join(home, 'credentials.json')).mode & 0o777).toBe(0o600);
    expect(await run('jobs')).toMatchObject({
      code: 0,
      out: expect.stringContaining('no jobs yet'),
    });
    expect(await run('workers')).toMatchObject({
      code: 0,
      out: expect.stringContaining('no workers yet'),
    });
  });

  it('uploads, lists, downloads and deletes a file, byte for byte', async () => {
    const path = join(home, 'train.jsonl');
    writeFileSync(
      path,
      Array.from({ length: 12 }, (_, at) => `${chat(`question ${at} é`)}\n`).join(''),
    );
    const file = JSON.parse((await run('files', 'upload', path, '--json')).out) as {
      id: string;
      status: string;
    };
    expect(file.id).toMatch(/^file-/);
    expect((await run('files')).out).toContain(file.id);
    const copy = join(home, 'copy.jsonl');
    expect((await run('files', 'get', file.id, '-o', copy)).code).toBe(0);
    expect(readFileSync(copy).equals(readFileSync(path))).toBe(true);
    expect((await run('files', 'get', file.id, '-o', '-')).out).toBe(readFileSync(path, 'utf8'));
    for (const name of ['train.jsonl', file.id.slice(0, 12)])
      expect((await run('files', 'show', name)).out, name).toContain(file.id);
    const twin = JSON.parse((await run('files', 'upload', path, '--json')).out) as { id: string };
    const many = await run('files', 'show', 'train.jsonl');
    expect(many).toMatchObject({ code: 2, out: '' });
    for (const { id } of [file, twin]) expect(many.err).toContain(id);
    await run('files', 'delete', twin.id);
    expect((await run('files', 'show', 'none.jsonl')).err).toBe(
      'graft: no file named none.jsonl; see graft files --all\n',
    );
    expect(await run('files', 'delete', file.id)).toMatchObject({
      code: 0,
      out: `${file.id} deleted\n`,
    });
    const gone = await run('files', 'get', file.id, '-o', join(home, 'none'));
    expect(gone).toMatchObject({ code: 1, out: '', err: expect.stringContaining(file.id) });
    expect(existsSync(join(home, 'none'))).toBe(false);
  });

  it('prints an error of the API in one line, and exits with 1', async () => {
    const bad = join(home, 'bad.jsonl');
    writeFileSync(bad, `${chat('fine')}\nnot json\n`);
    const refused = await run('submit', '--model', 'no-such-model', '--train', bad);
    expect(refused.code).toBe(1);
    const unknown = await run('watch', 'ftjob-nowhere');
    expect(unknown).toMatchObject({
      code: 1,
      out: '',
      err: expect.stringContaining('ftjob-nowhere'),
    });
    expect(unknown.err.trim().split('\n')).toHaveLength(1);
    for (const verb of ['cancel', 'pause', 'resume', 'logs', 'download']) {
      expect(await run(verb, 'ftjob-nowhere'), verb).toMatchObject({
        code: 1,
        err: expect.stringMatching(/^graft: .*ftjob-nowhere/),
      });
    }
    expect(await run('chat', 'no-such-model', 'hello')).toMatchObject({
      code: 1,
      err: expect.stringContaining('no-such-model'),
    });
  });

  it('shows, retries and deletes a failed import', async () => {
    const source = `dir:${join(home, 'nothing')}`;
    const reason = `${join(home, 'nothing')} does not exist on the server`;
    for (let attempt = 0; attempt < 2; attempt++)
      expect(await run('models', 'import', source)).toMatchObject({
        code: 1,
        err: `graft: import of ${source} failed: ${reason}\n`,
      });
    const listed = await run('models');
    expect(listed.out).toMatch(/nothing +base +error/);
    expect(listed.out).toContain(`\n  ${reason}\n`);
    expect(listed.err).toBe('Remove failed imports: graft models delete nothing\n');
    const file = writeChats(join(home, 'for-nothing.jsonl'), 12);
    expect((await run('submit', '-m', 'nothing', '-t', file)).err).toContain(
      `nothing could not be imported: ${reason}`,
    );
    expect(await run('models', 'rm', 'nothing')).toMatchObject({ code: 0 });
    expect((await run('models')).err).toBe('');
  });

  it('shows the contents of a file, and lists results and unusable files separately', async () => {
    const twice = join(home, 'twice.jsonl');
    writeFileSync(twice, `${chat('once')}\n${chat('twice')}\n${chat('once')}\n{"text":"a"}\n`);
    const uploaded = await run('files', 'upload', twice);
    expect(uploaded.err).toContain('1 record repeats an earlier one: line 3.');
    const [id = ''] = uploaded.out.split(' ');
    const { out } = await run('files', 'show', id);
    expect(out).toContain(`${id}  twice.jsonl\n`);
    expect(out).toMatch(
      /\n {2}records +4: 3 messages, 1 text\n {2}fits +causal_lm\n {2}duplicates +1 \(line 3\)\n/,
    );
    expect(out).toContain('\nThe records are in more than one format: 3 chats, 1 plain text.\n');

    const bad = join(home, 'mistaken.jsonl');
    writeFileSync(bad, `${chat('fine')}\n${'{"text":1}\n'.repeat(5)}`);
    const [worse = ''] = (await run('files', 'upload', bad)).out.split(' ');
    expect((await run('files', 'show', worse)).out).toContain(
      'Cannot be used for training:\n  lines 2–6: "text" must be a string',
    );
    expect((await run('files')).out).toMatch(/mistaken.jsonl .* unusable/);
    expect((await run('files', '--unusable')).out).not.toContain(id);
    expect(await run('files', 'delete')).toMatchObject({ code: 2 });
    expect((await run('files', 'delete', '--unusable')).out).toContain(`${worse} deleted\n`);
    expect((await run('files', 'list', '--all')).out).toContain(id);
    expect((await run('files', '--unusable')).out).toBe('no unusable files\n');
    expect((await run('files', 'delete', id)).code).toBe(0);
  });

  it('fixes and removes rows in a new version of a file, and lists the versions', async () => {
    const path = join(home, 'tickets.jsonl');
    const lines = Array.from({ length: 12 }, (_, n) => `{"text":"ticket ${n}","label":"${n % 3}"}`);
    writeFileSync(path, lines.join('\n'));
    const [id = ''] = (await run('files', 'upload', path)).out.split(' ');
    expect((await run('files', 'revisions', id)).out).toBe(
      `no revisions yet: graft files revise ${id} --set LINE.FIELD=VALUE\n`,
    );
    const record = '3={"text":"all new","label":"2"}';
    const flags = ['--set', '2.label=0', '--set', '2.text=a = b', '--record', record];
    const revised = await run('files', 'revise', 'tickets.jsonl', ...flags, '--remove', '5', '7');
    expect(revised.code).toBe(0);
    const [, made = ''] = /^(file-\w+) tickets \(4 rows fixed\)\.jsonl\n$/.exec(revised.out) ?? [];
    expect(revised.err).toBe(
      `2 changed, 2 removed; ${id} stays\nTrain on it: graft submit --model MODEL --train ${made}\n`,
    );
    expect((await run('files', 'get', made, '-o', '-')).out.trimEnd().split('\n')).toEqual([
      lines[0],
      '{"text":"a = b","label":"0"}',
      '{"text":"all new","label":"2"}',
      lines[3],
      lines[5],
      ...lines.slice(7),
    ]);
    expect((await run('files', 'revisions', id)).out).toMatch(
      new RegExp(`${made} +tickets \\(4 rows fixed\\)\\.jsonl +lines 2, 3 +lines 5, 7 `),
    );
    const listed = JSON.parse((await run('files', 'revisions', id, '--json')).out) as { id: string }[]; // prettier-ignore
    expect(listed.map((file) => file.id)).toEqual([made]);
    for (const [wrong, message] of [
      [[], 'specify what to change: --set, --record or --remove'],
      [['--set', '2'], '--set 2: expected LINE.FIELD=VALUE'],
      [['--set', '99.label=a'], 'tickets.jsonl has no record at line 99'],
      [['--set', '2.lable=a'], '--set 2.lable: the record has the fields text, label; --record'],
      [['--record', '2=[]'], '--record 2: expected a JSON object'],
      [['--remove', 'two'], '--remove two: expected the number of a line, from 1'],
      [['--set', '2.label=a', '--remove', '2'], '--set: line 2 is changed by another flag, too'],
    ] as const) {
      const { code, err } = await run('files', 'revise', id, ...wrong);
      expect([code, err], message).toEqual([2, expect.stringContaining(`graft: ${message}`)]);
    }
    const empty = await run('files', 'revise', id, '--record', '2={"text":""}');
    expect(empty).toMatchObject({ code: 1, err: expect.stringContaining('records[0].record') });
    expect((await run('files', 'delete', made, id)).code).toBe(0);
  });

  it('writes the rows that a job held out to a second file', async () => {
    expect((await run('models', 'import', writeTinyBase(join(home, 'held')))).code).toBe(0);
    const path = join(home, 'held-out.jsonl');
    const lines = Array.from({ length: 60 }, (_, n) => chat(`question ${n}`));
    writeFileSync(path, lines.join('\n'));
    const [id = ''] = (await run('files', 'upload', path)).out.split(' ');
    const train = ['submit', '-m', 'held', '-t', id, '--suffix', 'holder'];
    expect((await run(...train, '--set', 'graft.validation_split=0.2')).code).toBe(0);
    const revised = await run('files', 'revise', id, '--remove', '1', '2', '--hold-out-as', 'holder', '--json'); // prettier-ignore
    const { file, validation_file: validation, removed, held_out_revised: held } = JSON.parse(revised.out) as FileRevisionObject; // prettier-ignore
    expect([removed, validation?.filename]).toEqual([2, 'held-out (held out).jsonl']);
    const rowsOf = async (name: string): Promise<string[]> =>
      (await run('files', 'get', name, '-o', '-')).out.trimEnd().split('\n');
    const [training, heldOut] = [await rowsOf(file.id), await rowsOf(validation?.id ?? '')];
    expect(heldOut).toHaveLength(12 - held);
    expect([...training, ...heldOut].sort()).toEqual(lines.slice(2).sort());

    // The text names both files, and how to train on them.
    const name = ['--name', 'again.jsonl'];
    const { out, err } = await run('files', 'revise', id, '--remove', '3', '--hold-out-as', 'holder', ...name); // prettier-ignore
    const [made = '', second = ''] = out.split('\n').map((line) => line.split(' ')[0]);
    expect(out).toMatch(/^file-\w+ again\.jsonl\nfile-\w+ .*\(held out\)\.jsonl\n$/);
    expect(err).toContain(`--train ${made} --valid ${second}\n`);
    expect(await run('files', 'revise', id, '--remove', '1', '--hold-out-as', 'missing')).toEqual({
      code: 1,
      out: '',
      err: 'graft: no job named missing; see graft jobs\n',
    });
    expect((await run('cancel', 'holder')).code).toBe(0);
  });

  it('reads a table, and suggests how to map its columns', async () => {
    const path = join(home, 'table.csv');
    writeFileSync(path, `frage,antwort\n${'a?,b\n'.repeat(12)}`);
    const result = await run('files', 'upload', path);
    expect(result).toMatchObject({ code: 1, out: '' });
    expect(result.err).toMatch(
      /the columns are "frage", "antwort".*\nMap its columns: --map prompt=frage --map completion=antwort\n/,
    );
    const labels = join(home, 'labels.csv');
    const tickets = Array.from({ length: 12 }, (_, n) => `Ticket ${n},${n % 3}\n`).join('');
    writeFileSync(labels, `the message,category\n${tickets}`);
    expect((await run('files', 'upload', labels)).err).toMatch(
      /\nMap its columns: --map 'text=the message' --map label=category\n/,
    );
    const wrong = await run('files', 'upload', path, '--map', 'question=frage');
    expect(wrong.err).toContain('no form of training data has the fields "question"');
    expect(await run('files', 'upload', path, '--map', 'frage')).toMatchObject({ code: 2 });
    const asLabels = ['--map', 'text=frage', '--map', 'label=antwort'];
    const [labelled = ''] = (await run('files', 'upload', path, ...asLabels)).out.split(' ');
    expect((await run('files', 'show', labelled, '--json')).out).toMatch(/"classification": *12/);
    const map = ['--map', 'prompt=frage', '--map', 'completion=antwort'];
    const [id = ''] = (await run('files', 'upload', path, ...map)).out.split(' ');
    expect((await run('files', 'show', id)).out).toMatch(/source +csv\n/);
    expect((await run('files', 'get', id, '-o', '-')).out).toBe(
      '{"prompt":"a?","completion":"b"}\n'.repeat(12),
    );
    expect((await run('files', 'delete', id)).code).toBe(0);
  });

  it('uploads a split that Dataset.save_to_disk wrote', async () => {
    const zip = new URL('../../apps/api/test/datasets/one-split.zip', import.meta.url);
    for (const [name, content] of await unzip(readFileSync(zip))) {
      const path = join(home, name);
      if (name.endsWith('/')) mkdirSync(path);
      else writeFileSync(path, content);
    }
    const all = await run('files', 'upload', join(home, 'one-split'));
    expect(all.code).toBe(2);
    expect(all.err).toMatch(
      /has several splits \(train\); use the folder of one split, such as .*one-split.train/,
    );
    const [id = '', name] = (await run('files', 'upload', join(home, 'one-split/train'))).out.split(
      ' ',
    );
    expect(name).toBe('train.zip');
    expect((await run('files', 'show', id)).out).toMatch(/source +arrow\n/);
    expect((await run('files', 'get', id, '-o', '-')).out.split('\n')).toHaveLength(13);
    expect((await run('files', 'delete', id)).code).toBe(0);
  });

  it('uploads a folder of images, and summarizes its contents', async () => {
    const [cat, dog] = [png([255, 0, 0]), png([0, 0, 255])];
    for (const [name, content] of [
      ['cat/1.png', cat],
      ['dog/1.png', dog],
      ['secret.txt', cat],
    ] as const) {
      mkdirSync(join(home, 'pets', dirname(name)), { recursive: true });
      writeFileSync(join(home, 'pets', name), content);
    }
    const { out } = await run('files', 'upload', join(home, 'pets'));
    expect(out).toMatch(/^file-\S+ pets\.zip .* processed \(2 images, 2 labels\)\n$/);
    const [id = ''] = out.split(' ');
    expect((await run('files', 'show', id)).out).toMatch(
      /labels +2: cat 1, dog 1\n {2}source +imagefolder\n/,
    );
    expect((await run('files', 'get', id, '-o', '-')).out).toBe(
      [
        { image: dataUrl('image/png', cat), label: 'cat' },
        { image: dataUrl('image/png', dog), label: 'dog' },
      ]
        .map((record) => `${JSON.stringify(record)}\n`)
        .join(''),
    );
    expect((await run('files', 'delete', id)).code).toBe(0);
  });

  it('reports the problems of a file by line, and deletes the uploads of a rejected job', async () => {
    const bad = join(home, 'bad.jsonl');
    writeFileSync(bad, `${chat('fine')}\nnot json\n{"messages": 1}\n`);
    const uploaded = await run('files', 'upload', bad);
    expect(uploaded).toMatchObject({ code: 1, out: expect.stringMatching(/^file-\S+ bad.jsonl/) });
    expect(uploaded.err).toMatch(
      /^graft: bad.jsonl cannot be used:\n {2}line 2: .*\n {2}line 3: .*\n$/,
    );

    const good = join(home, 'good.jsonl');
    writeFileSync(good, Array.from({ length: 12 }, (_, at) => `${chat(`q ${at}`)}\n`).join(''));
    const before = (await run('files')).out;
    const unknown = join(home, 'unknown.json');
    writeFileSync(unknown, '{"model": "none"}');
    expect((await run('submit', unknown, '-t', good)).err).toContain('none');
    // The body is checked before the file is uploaded.
    const unsent = await run('submit', unknown, '-t', bad);
    expect([unsent.err.includes("'none'"), unsent.err.includes('line 2')]).toEqual([true, false]);
    expect((await run('models', 'import', writeTinyBase(join(home, 'checked')))).code).toBe(0);
    expect((await run('submit', '-m', 'checked', '-t', bad)).err).toContain('line 2');
    expect((await run('files')).out.split('\n').length).toBe(before.split('\n').length);
    expect(await run('submit', unknown, '-t', 'gone.jsonl')).toMatchObject({
      code: 2,
      err: expect.stringContaining('cannot read gone.jsonl: no such file'),
    });
  });

  it('shows the plan of a job with --dry-run and before submitting', async () => {
    const base = writeTinyBase(join(home, 'planned'));
    expect((await run('models', 'import', base)).code).toBe(0);
    // Another model of the same name needs another id.
    const other = writeTinyBase(join(home, 'other', 'planned'), 'gpt2');
    expect((await run('models', 'import', other)).err).toContain('choose another id');
    const named = await run('models', 'import', other, '--id', 'planned-too');
    expect(named).toMatchObject({ code: 0, out: 'planned-too is ready\n' });
    const chats = writeChats(join(home, 'planned.jsonl'), 12);
    const files = async () => (await run('files')).out.match(/^file-\S+/gm);
    const before = await files();
    const dry = await run('submit', '-m', 'planned', '-t', chats, '--valid', chats, '--dry-run');
    expect(dry.code).toBe(0);
    const plan = /12 examples · 9 epochs · 108 steps · [\d.]+ k of 24.7 k parameters/;
    expect(dry.out.split('\n')[0]).toMatch(plan);
    expect(dry.out).toMatch(/method +LoRA: r 16, lora_alpha 32, target_modules all-linear/);
    expect(dry.out).toMatch(/time +unknown until a similar job has run/);
    expect(dry.out).toMatch(
      /warning +12 of 12 examples of the validation file are also in the training/,
    );
    expect(await files()).toEqual(before);
    expect((await run('jobs')).out).not.toContain('planned');
    expect(dry.out).toMatch(
      /memory +about \d+ MB: \d.* for the base in bf16, up to \d+.* MB for the run/,
    );
    const typo = ['--set', 'graft.pool=defualt'];
    const there = await run('submit', '-m', 'planned', '-t', chats, ...typo);
    expect(there.err).toContain('warning: No worker has ever joined pool defualt: ');
    const made = /^ftjob-\S+/.exec(there.out)?.[0] ?? '';
    expect((await run('jobs', made)).out).toMatch(/Warning +No worker has ever joined pool/);
    expect((await run('cancel', made)).code).toBe(0);
    const json = await run('submit', '-m', 'planned', '-t', chats, '--dry-run', '--json');
    expect(JSON.parse(json.out)).toMatchObject({ object: 'graft.job_preview', steps: 108 });

    const table = join(home, 'planned.csv');
    writeFileSync(table, `frage,antwort\n${'a?,b\n'.repeat(12)}`);
    const result = await run('submit', '-m', 'planned', '-t', table, '--dry-run');
    expect(result.err).toContain('Map its columns: --map prompt=frage --map completion=antwort\n');
    const map = ['--map', 'prompt=frage', '--map', 'completion=antwort'];
    const read = await run('submit', '-m', 'planned', '-t', table, ...map, '--dry-run');
    expect(read.out).toMatch(/^12 examples · /);
    const tickets = join(home, 'tickets.csv');
    const rows = Array.from({ length: 12 }, (_, n) => `Ticket ${n},${n % 3}\n`).join('');
    writeFileSync(tickets, `message,category\n${rows}`);
    const labels = ['--map', 'text=message', '--map', 'label=category'];
    const taken = await run('submit', '-m', 'planned', '-t', tickets, ...labels, '--dry-run');
    expect(taken.out).toMatch(/graft\.task is not set: the job trains seq_cls, the only task/);

    const submitted = await run('submit', '-m', 'planned', '-t', chats);
    expect(submitted.code).toBe(0);
    expect(submitted.err).toMatch(plan);
    const id = /^ftjob-\S+/.exec(submitted.out)?.[0] ?? '';
    expect((await run('cancel', id)).code).toBe(0);
    const packed = ['--suffix', 'packed', '--set', 'graft.quantization=nf4'];
    expect((await run('submit', '-m', 'planned', '-t', chats, ...packed)).code).toBe(0);
    // The API computes the position a moment after it queued the job.
    await expect
      .poll(async () => (await run('jobs', '-s', 'packed')).out, { timeout: 30_000 })
      .toMatch(/ queued +QLoRA +planned \(nf4\) +\d of \d in queue /);
    expect((await run('jobs', id)).out).toMatch(/^ +Base +planned$/m);
    expect((await run('cancel', 'packed')).code).toBe(0);
    const refused = await run(
      'submit',
      '-m',
      'planned',
      '-t',
      chats,
      '--set',
      'graft.max_seq_len=99999',
      '--dry-run',
    );
    expect(refused).toMatchObject({
      code: 1,
      out: '',
      err: expect.stringContaining('max_seq_len is 99,999'),
    });
  });

  it('does not cancel a job when Ctrl-C stops graft watch', async () => {
    expect((await run('models', 'import', writeTinyBase(join(home, 'tiny')))).code).toBe(0);
    const chats = writeChats(join(home, 'chats.jsonl'), 12);
    const submitted = await run('submit', '-m', 'tiny', '-t', chats, '--json');
    const { id } = JSON.parse(submitted.out) as { id: string };
    const env = cleanEnv({ GRAFT_HOME: home });
    const { child, text } = await startUntil(CLI, ['watch', id], env, 'queued: Waiting');
    const closed = once(child, 'close');
    child.kill('SIGINT');
    expect(await closed).toEqual([130, null]);
    expect(text().err).toContain(`the job continues (graft watch ${id}`);
    expect((await run('jobs')).out).toMatch(new RegExp(`${id} +\\S+ +queued`));
    expect((await run('cancel', id)).code).toBe(0);
    expect(await run('watch', id)).toMatchObject({
      code: 1,
      out: '',
      err: `graft: ${id} was cancelled at step 0\n`,
    });
  });

  it('shows the quotas and usage of the project', async () => {
    const { code, out } = await run('limits');
    expect(code).toBe(0);
    expect(out).toMatch(/^Project \S+ · weight 1 · priorities 1–1000$/m);
    expect(out).toMatch(/^LIMIT +USED +QUOTA +RESETS/m);
    expect(out).toMatch(/^running_jobs +0 +no limit/m);
    expect(out).toMatch(/^tokens_per_day +0 +no limit +\d{4}-\d\d-\d\dT00:00:00Z/m);
  });

  it('creates a key that works within its scopes until it is revoked', async () => {
    const key = JSON.parse(
      (await run('keys', 'create', 'reader', '--scope', 'files:read', '--json')).out,
    ) as { id: string; secret: string };
    const withKey = (...args: string[]): Promise<Done> =>
      graft(home, [...args, '--api-key', key.secret]);
    expect((await withKey('files')).code).toBe(0);
    expect(await withKey('keys')).toMatchObject({ code: 1, out: '' });
    expect((await run('keys')).out).toContain('reader');
    expect((await run('keys', 'revoke', key.id)).code).toBe(0);
    expect(await withKey('files')).toMatchObject({
      code: 1,
      err: expect.stringContaining('revoked'),
    });
  });

  it('exits with 1 for errors, 2 for wrong usage and 3 for an unreachable API', async () => {
    expect((await run('submit', '--model', 'm')).code).toBe(2);
    expect((await run('submit', '--model', 'm', '--train', 'file-1', '--set', 'oops')).code).toBe(
      2,
    );
    expect((await run('nonsense')).code).toBe(2);
    expect((await run('files', 'upload', join(home, 'not-there'))).code).toBe(2);
    mkdirSync(join(home, 'empty'));
    expect(await run('files', 'upload', join(home, 'empty'))).toMatchObject({
      code: 2,
      err: expect.stringContaining('has no state.json, images or audio; expected a file'),
    });
    for (const args of [
      ['jobs', '-n', 'x'],
      ['jobs', '-n', '0'],
      ['chat', 'm', 'hi', '--temperature', 'hot'],
      ['chat', 'm', 'hi', '--max-tokens', '-1'],
      ['keys', 'create', 'bob', '--scope', 'flying'],
      ['jobs', '--url', '127.0.0.1:8080'],
      ['jobs', '--url', 'localhost:8080'],
    ])
      expect(await run(...args), args.join(' ')).toMatchObject({ code: 2, out: '' });
    expect((await run('jobs', '--url', 'http://127.0.0.1:9')).code).toBe(3);
    expect((await run('--help')).code).toBe(0);
  });
});
