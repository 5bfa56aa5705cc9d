// The names in adapter_config.json, matched by PEFT's rules against all modules of the Transformers class, select
// exactly the modules that have tensors in the file.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { setThreads } from '@graft/kernels';
import { models as families, forConfig, readAdapter, type HfConfig } from '@graft/peft-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { HERE, json, values } from './golden-case.js';
import { CASES, write, type Case } from './exact-names.js';

const PATHS = json<Record<string, Record<string, string[]>>>('', 'module-paths.json');
const out = mkdtempSync(join(tmpdir(), 'graft-exact-names-'));
beforeAll(() => setThreads(1));
afterAll(() => rmSync(out, { recursive: true }));

/** Module paths of a case's class. The layers of deep bases are like the first. */
function modulesOf({ family, layers }: Case, models: string): string[] {
  const paths = PATHS[family]![`AutoModel${models}`]!;
  if (layers === null) return paths;
  const more = paths.flatMap((path) =>
    /\.layers?\.0(\.|$)/.test(path)
      ? Array.from({ length: layers }, (_, n) => path.replace(/(\.layers?\.)0/, `$1${n}`))
      : [path],
  );
  return [...new Set(more)];
}

const ADAPTER = /^base_model\.model\.(.*)\.(lora_[AB]|ln_tuning_layers|ia3_l)(\..*)?$/;
const SAVED = /^base_model\.model\.(.*)\.(weight|bias)$/;
const isHead = (path: string): boolean => /^(classifier|score)(\.|$)/.test(path);

const selects = (names: readonly string[] | string) => (path: string) =>
  typeof names === 'string'
    ? new RegExp(`^(?:${names})$`).test(path)
    : names.some((name) => path === name || path.endsWith(`.${name}`));

it.each(CASES)('$shown', (one) => {
  const { base, dir, models } = write(one, CASES.indexOf(one), out);
  const config = JSON.parse(readFileSync(join(dir, 'adapter_config.json'), 'utf8')) as {
    readonly target_modules: readonly string[] | string;
    readonly exclude_modules: readonly string[] | string | null;
    readonly layers_to_transform: readonly number[] | null;
    readonly modules_to_save: readonly string[] | null;
  };
  const tensors = [...values(relative(HERE, join(dir, 'adapter_model.safetensors'))).keys()];
  const adapted = new Set(tensors.flatMap((name) => ADAPTER.exec(name)?.[1] ?? []));
  const others = tensors.filter((name) => !ADAPTER.test(name));
  const excluded = selects(config.exclude_modules ?? []);
  const { target_modules: targets, layers_to_transform: layers = null } = config;
  const inLayers = (path: string): boolean =>
    layers === null ||
    targets.includes(path) ||
    layers.includes(Number(/\.(\d+)\./.exec(path)?.[1]));
  const modules = modulesOf(one, models);
  const isSaved = selects(config.modules_to_save ?? []);
  const found = modules.filter(
    (path) => selects(targets)(path) && !excluded(path) && inLayers(path),
  );
  expect(found.filter((path) => !isSaved(path) && !isHead(path)).sort()).toEqual(
    [...adapted].sort(),
  );

  const saved = modules.filter((path) => isSaved(path) && !isHead(path));
  const ofSaved = others.map((name) => SAVED.exec(name)?.[1] ?? name);
  for (const path of saved)
    expect(
      ofSaved.some((own) => own === path || own.startsWith(`${path}.`)),
      path,
    ).toBe(true);

  const stored = readAdapter(dir, JSON.parse(readFileSync(join(base, 'config.json'), 'utf8')) as HfConfig); // prettier-ignore
  expect(stored.tensors.size).toBe(tensors.length);
  stored.dispose();
});

it('covers every family with two towers or with modules that Graft does not load', () => {
  const covered = new Set(
    CASES.map(({ family }) => forConfig(json<HfConfig>(family, 'base', 'config.json')).name),
  );
  const wanted = families.filter(({ paths }) => paths.unread || (paths.encoder && paths.decoder));
  expect(wanted.length).toBeGreaterThan(6);
  const names = wanted.map(({ name }) => name).filter((name) => !covered.has(name));
  expect(names).toEqual([]);
});
