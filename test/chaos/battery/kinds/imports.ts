// Imports of base models from a folder and from a slow hub whose downloads break off. Some of the bases are
// invalid.
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeTinyBase } from '../../../tiny-base.js';
import type { Violation } from '../checker.js';
import type { SlowHub } from '../slow-hub.js';
import { insist, type Kind, type Place } from './kind.js';

interface Stored {
  readonly name: string;
  readonly sha256: string;
  readonly size: number;
}

export interface ImportEvidence {
  readonly id: string;
  readonly status: string;
  readonly reason: string | null;
  readonly files: readonly Stored[];
  /** Files of its source; null if the source is invalid. */
  readonly source: readonly Stored[] | null;
}

/**
 * Each acknowledged import has ended, either with every file of its source, byte for byte, or with no file
 * and a reason.
 */
export function* checkImports(
  models: readonly ImportEvidence[],
  acknowledged: readonly string[],
): Generator<[subject: string, what: string]> {
  for (const id of acknowledged)
    if (!models.some((model) => model.id === id)) yield [id, 'acknowledged, but missing'];
  for (const { id, status, reason, files, source } of models) {
    if (status === 'error') {
      if (!reason) yield [id, 'failed without a reason'];
      if (files.length > 0) yield [id, `failed, but has ${files.length} files`];
      continue;
    }
    if (status !== 'ready') yield [id, `is ${status}`];
    else if (source === null) yield [id, 'is ready, but its source is invalid'];
    else if (listOf(files) !== listOf(source))
      yield [id, `has ${listOf(files)}, but its source has ${listOf(source)}`];
  }
}

const listOf = (files: readonly Stored[]): string =>
  JSON.stringify(files.map(({ name, sha256, size }) => [name, sha256, size]).sort());

export class Imports implements Kind {
  readonly name = 'imports';
  private readonly dir = mkdtempSync(join(tmpdir(), 'graft-battery-bases-'));
  private readonly good = writeTinyBase(join(this.dir, 'good'));
  private readonly bad = writeBadBase(join(this.dir, 'bad'));
  private readonly usable = new Map<string, boolean>();
  private readonly acknowledged: string[] = [];
  private models: readonly ImportEvidence[] = [];

  constructor(private readonly hub: SlowHub) {}

  async configure(): Promise<object> {
    await this.hub.open();
    this.hub.folders.set('Org/Good', this.good).set('Org/Bad', this.bad);
    return { hubUrl: this.hub.pushed.url };
  }

  async act(place: Place): Promise<void> {
    const { random } = place;
    this.hub.breaks = () => random.next() < 0.03;
    const [kind, isUsable] = [random.next() < 0.6 ? 'hub' : 'dir', random.next() < 0.8];
    const id = `import-${this.usable.size + 1}`;
    const folder = isUsable ? this.good : this.bad;
    const source = kind === 'dir' ? `dir:${folder}` : `hub:Org/${isUsable ? 'Good' : 'Bad'}`;
    this.usable.set(id, isUsable);
    const request = { method: 'POST', path: '/models', body: { id, source } };
    // Half of the time, two clients request the same import.
    const times = random.next() < 0.5 ? 2 : 1;
    const answers = await Promise.all(Array.from({ length: times }, () => insist(place, request)));
    if (answers.some((answer) => answer !== null)) this.acknowledged.push(id);
    if (random.next() < 0.5) await insist(place, request);
  }

  heal(): void {
    this.hub.breaks = () => false;
  }

  async open({ cluster }: Place): Promise<string[]> {
    const rows = await cluster.query<{ id: string }>(
      `SELECT id FROM model WHERE status = 'importing'`,
    );
    return rows.map(({ id }) => id);
  }

  async look(place: Place): Promise<Violation[]> {
    const source = filesOf(this.good);
    const rows = await place.cluster.query<Omit<ImportEvidence, 'source'>>(
      `SELECT id, status, status_details AS reason, files FROM model WHERE id LIKE 'import-%'`,
    );
    this.models = rows.map((row) => ({ ...row, source: this.usable.get(row.id) ? source : null }));
    return [...checkImports(this.models, this.acknowledged)].map(([subject, what]) => ({
      invariant: 'I18',
      subject,
      what,
    }));
  }

  counts(): Record<string, number> {
    const failed = this.models.filter(({ status }) => status === 'error');
    const byFaults = failed.filter(({ source }) => source !== null);
    return {
      'imports ready': this.models.length - failed.length,
      'imports that cannot be used': failed.length - byFaults.length,
      ...Object.fromEntries(byFaults.map(({ id, reason }) => [`${id} failed: ${reason}`, 1])),
    };
  }

  close(): Promise<void> {
    this.hub.close();
    rmSync(this.dir, { recursive: true });
    return Promise.resolve();
  }
}

/** Writes a base whose config has more layers than its weights. */
function writeBadBase(dir: string): string {
  writeTinyBase(dir);
  const path = join(dir, 'config.json');
  const config = JSON.parse(readFileSync(path, 'utf8')) as { num_hidden_layers: number };
  const more = { ...config, num_hidden_layers: config.num_hidden_layers + 1 };
  writeFileSync(path, JSON.stringify(more));
  return dir;
}

const filesOf = (dir: string): Stored[] =>
  readdirSync(dir).map((name) => {
    const content = readFileSync(join(dir, name));
    const sha256 = createHash('sha256').update(content).digest('hex');
    return { name, sha256, size: content.length };
  });
