// Runs the commands of the README, the quickstart and the guides, page by page and in order, as a reader would: in a folder
// like a clone of the repository, on a whole Graft with a worker that trains. Small models replace those that the pages
// name. migrate.spec.ts runs docs/guides/migrate-from-openai.md.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFailed } from 'vitest';
import { cleanEnv, CLI } from '../cli/graft.js';
import { Installation } from '../e2e/installation.js';
import { colourPng, COLOURS, writeTinyImageBase } from '../tiny-images.js';
import { PITCHES, tone, writeTinySpeechBase, type Pitch } from '../tiny-audio.js';
import {
  blocksOf,
  claimsOf,
  notTested,
  outputsOf,
  patternOf,
  runs,
  scriptOf,
  type Block,
} from './guide-page.js';

const ROOT = join(import.meta.dirname, '../..');
/** Address in the pages, in place of which the test's own is used. */
const ADDRESS = 'http://127.0.0.1:8080';

/** Guides for operators, whose commands need Docker, Kubernetes or servers of their own, and the one with its own spec. */
const ELSEWHERE = [
  'deployment.md',
  'migrate-from-openai.md',
  'operations.md',
  'scaling.md',
  'security.md',
];
const pages = [
  'README.md',
  'docs/quickstart.md',
  ...readdirSync(join(ROOT, 'docs/guides'))
    .filter((name) => !ELSEWHERE.includes(name))
    .map((name) => `docs/guides/${name}`),
];
const blocksOfPage = (page: string): Block[] => blocksOf(readFileSync(join(ROOT, page), 'utf8'));

let graft: Installation;
beforeAll(async () => {
  graft = await Installation.start({});
  graft.startWorker('a', '--slots', '2');
  await graft.importBase('SmolLM2-135M-Instruct', join(ROOT, 'examples/tiny-base'));
  await graft.importBase('dinov2-small', writeTinyImageBase(join(graft.dir, 'images')));
  await graft.importBase('whisper-tiny.en', writeTinySpeechBase(join(graft.dir, 'audio')));
}, 180_000);
afterAll(() => graft?.stop());

/** A folder that looks like a clone in which `npm start` runs. */
function clone(page: string): string {
  const dir = join(graft.dir, page.replaceAll(/\W/g, '-'));
  mkdirSync(join(dir, '.graft'), { recursive: true });
  const { url, apiKey } = graft.where;
  writeFileSync(join(dir, '.graft/credentials.json'), JSON.stringify({ url, api_key: apiKey }));
  for (const name of ['examples', 'node_modules']) symlinkSync(join(ROOT, name), join(dir, name));
  writeFolders(join(dir, 'photos'), COLOURS, colourPng, 'png');
  writeFileSync(join(dir, 'new-photo.png'), colourPng('red', 9));
  const clip = (pitch: Pitch, place: number): Buffer => tone(pitch, place, 0.3);
  writeFolders(join(dir, 'clips'), PITCHES, clip, 'wav');
  writeFileSync(join(dir, 'new-clip.wav'), clip('low', 9));
  writeSpeech(join(dir, 'speech'), clip);
  mkdirSync(join(dir, 'bin'));
  const npx = `#!/bin/sh\n[ "$1" = graft ] && shift\nexec "${process.execPath}" "${CLI}" "$@"\n`;
  writeFileSync(join(dir, 'bin/npx'), npx);
  chmodSync(join(dir, 'bin/npx'), 0o755);
  return dir;
}

/** Images or audio clips in one folder for each label. */
function writeFolders<Label extends string>(
  dir: string,
  labels: readonly Label[],
  bytesOf: (label: Label, place: number) => Buffer,
  extension: string,
): void {
  for (const label of labels) {
    mkdirSync(join(dir, label), { recursive: true });
    for (let place = 0; place < 20; place++)
      writeFileSync(join(dir, label, `${place}.${extension}`), bytesOf(label, place));
  }
}

/** Audio clips with a table of their transcripts. */
function writeSpeech(dir: string, clip: (pitch: Pitch, place: number) => Buffer): void {
  mkdirSync(dir);
  const rows = PITCHES.flatMap((pitch) =>
    [0, 1, 2, 3].map((place) => {
      const name = `${pitch}-${place}.wav`;
      writeFileSync(join(dir, name), clip(pitch, place));
      return `${name},${pitch}`;
    }),
  );
  writeFileSync(join(dir, 'metadata.csv'), ['file_name,text', ...rows].join('\n'));
}

async function bash(script: string, dir: string): Promise<{ code: number; output: string }> {
  const env = cleanEnv({ PATH: `${join(dir, 'bin')}:${process.env['PATH']}`, COLUMNS: '200' });
  writeFileSync(join(dir, 'page.sh'), script);
  const child = spawn('bash', ['page.sh'], { cwd: dir, env, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (text: Buffer) => (output += text.toString()));
  const [code] = (await once(child, 'close')) as [number];
  return { code, output };
}

describe.each(pages)('%s', (page) => {
  const blocks = blocksOfPage(page);

  it('has commands that work and print what the page shows', async () => {
    onTestFailed(() => console.error(graft.tails()));
    const dir = clone(page);
    const here = blocks.map((block) => ({
      ...block,
      text: block.text.replaceAll(ADDRESS, graft.where.url),
    }));
    const { code, output } = await bash(scriptOf(here, dir), dir);
    expect(code, output.slice(-3000)).toBe(0);
    const outputs = outputsOf(output);
    for (const claim of claimsOf(blocks))
      expect(outputs.get(claim.block), `printed by the block at line ${claim.block}`).toMatch(
        patternOf(claim.text),
      );
  }, 180_000);

  it('has JSON that parses', () => {
    for (const { text } of blocks.filter(({ language }) => language === 'json')) JSON.parse(text);
    for (const { text } of blocks.filter(({ language }) => language === 'jsonl'))
      for (const line of text.split('\n')) JSON.parse(line);
  });

  it('gives a reason for each block that is not tested', () => {
    const others = blocks.filter(
      (block) => !runs(block) && !['csv', 'json', 'jsonl', 'text'].includes(block.language),
    );
    for (const block of others) {
      expect(notTested(block), `line ${block.line}: ${block.text}`).not.toBeNull();
      console.log(`${page}:${block.line} is not tested: ${notTested(block)}`);
    }
  });
});

it('npx graft runs in a clone', () => {
  const version = execFileSync('npx', ['--no-install', 'graft', '--version'], { cwd: ROOT });
  expect(version.toString()).toMatch(/^\d+\.\d+\.\d+/);
});
