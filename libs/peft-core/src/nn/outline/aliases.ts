/**
 * Names in files of modules that Transformers has renamed since. Keys and values are whole paths; '{n}' is
 * the number of a layer.
 */
export type Aliases = Readonly<Record<string, string | FilePart>>;

/**
 * Part of a file's tensor, for modules that were one module before: their rows are consecutive in one tensor.
 */
export interface FilePart {
  readonly file: string;
  readonly at: number;
  readonly of: number;
}

const NUMBER = /(?<=\.)\d+(?=\.)/;
const numbered = (path: string, [number = '']: readonly string[]): string =>
  path.replace('{n}', number);
const whole = (file: string): FilePart => ({ file, at: 0, of: 1 });
const partOf = (alias: string | FilePart): FilePart =>
  typeof alias === 'string' ? whole(alias) : alias;

/** Returns a module's name in files, and which part of that tensor the module is. */
export function inFiles(aliases: Aliases, path: string): FilePart {
  const alias = aliases[path] ?? aliases[path.replace(NUMBER, '{n}')];
  if (alias === undefined) return whole(path);
  const found = partOf(alias);
  return { ...found, file: numbered(found.file, NUMBER.exec(path) ?? []) };
}

/**
 * Returns the modules with this name in files, each with its part. A name without aliases is the module's
 * own.
 */
export function inModules(
  aliases: Aliases,
  name: string,
): (FilePart & { readonly path: string })[] {
  const pattern = name.replace(NUMBER, '{n}');
  const found = Object.entries(aliases)
    .map(([path, alias]) => ({ path, ...partOf(alias) }))
    .filter(({ file }) => file === name || file === pattern);
  if (found.length === 0) return [{ path: name, ...whole(name) }];
  const number = NUMBER.exec(name) ?? [];
  return found.map((one) => ({ ...one, file: name, path: numbered(one.path, number) }));
}
