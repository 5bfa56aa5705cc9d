/** Maps tensor names in a family's files to module names, and back. */
import { cat, chunk, tidy } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import type { HfConfig } from '../../nn/hf-files.js';
import { inFiles, inModules } from '../../nn/outline/aliases.js';
import { forConfig, optionsOf, outlineOf } from '../../models/registry.js';
import { joined, partsOf } from '../../nn/outline/expert-files.js';
import {
  missingPrefixOf,
  pathWith,
  pathWithout,
  type MissingPrefix,
} from '../../nn/outline/model-paths.js';
import type { LazyTensor } from './shards.js';

/** Returns tensors by their names in files; the tensors of experts are split as in files. */
export function asFilesCall(
  tensors: ReadonlyMap<string, LazyTensor>,
  config: HfConfig,
): ReadonlyMap<string, LazyTensor> {
  const { aliases = {} } = forConfig(config);
  const lacking = missingPrefixFor(config);
  const parts = partsOf(outlineOf(config).experts());
  const divided = new Map<string, LazyTensor[]>();
  return new Map(
    [...tensors].flatMap(([name, tensor]): [string, LazyTensor][] => {
      const cuts = parts.get(name);
      if (cuts)
        return cuts.map(({ file, cut }) => [
          file,
          { bytes: tensor.bytes / cuts.length, make: () => tidy(() => cut(tensor.make())) },
        ]);
      const dot = name.lastIndexOf('.');
      const { file, at, of } = inFiles(aliases, name.slice(0, dot));
      const own = file + name.slice(dot);
      const whole = lacking ? pathWithout(own, lacking) : own;
      if (of === 1) return [[whole, tensor]];
      const rows = divided.get(whole) ?? [];
      rows[at] = tensor;
      divided.set(whole, rows);
      return [[whole, inOne(rows, tensor.bytes * of)]];
    }),
  );
}

/**
 * Path prefix that the files of a model with an encoder and a head, but no decoder, do not have; null if
 * there is none.
 */
function missingPrefixFor(config: HfConfig): MissingPrefix | null {
  const { paths } = forConfig(config);
  return optionsOf(config).decoder ? null : missingPrefixOf(paths);
}

/** Concatenates parts along the rows. */
const inOne = (parts: readonly LazyTensor[], bytes: number): LazyTensor => ({
  bytes,
  make: () => tidy(() => cat(parts.map((part) => part.make()))),
});

/** Returns readers of a file's tensors by module names. */
export function asModulesCall(
  names: readonly string[],
  get: (name: string) => Tensor,
  config: HfConfig,
): [string, () => Tensor][] {
  const { aliases = {} } = forConfig(config);
  const shapes = outlineOf(config).experts();
  const parts = partsOf(shapes);
  const wholes = shapes.flatMap((shape) =>
    [...shape.shapes.keys()].flatMap((whole): [string, () => Tensor][] => {
      const files = (parts.get(whole) ?? []).map(({ file }) => file);
      const isApart = files.every((file) => names.includes(file));
      return isApart ? [[whole, () => joined(shape, whole, files.map(get))]] : [];
    }),
  );
  const taken = new Set(
    wholes.flatMap(([whole]) => (parts.get(whole) ?? []).map(({ file }) => file)),
  );
  const others = names.filter((name) => !taken.has(name));
  const lacking = missingPrefixFor(config);
  return [
    ...others.flatMap((name) => {
      const dot = name.lastIndexOf('.');
      return inModules(aliases, name.slice(0, dot)).map(
        ({ path, at, of }): [string, () => Tensor] => [
          lacking ? pathWith(path + name.slice(dot), lacking) : path + name.slice(dot),
          () => (of === 1 ? get(name) : (chunk(get(name), of)[at] as Tensor)),
        ],
      );
    }),
    ...wholes,
  ];
}
