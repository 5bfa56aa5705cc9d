/**
 * What files call modules that transformers has renamed since. Keys and values are whole paths; '{n}' stands for the
 * number of a layer.
 */
export type Aliases = Readonly<Record<string, string | FilePart>>;

/** Of modules that were one: their rows lie in one tensor, one after another. */
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

/** A module's name in files, and which part of what is called so it is. */
export function inFiles(aliases: Aliases, path: string): FilePart {
  const alias = aliases[path] ?? aliases[path.replace(NUMBER, '{n}')];
  if (alias === undefined) return whole(path);
  const found = partOf(alias);
  return { ...found, file: numbered(found.file, NUMBER.exec(path) ?? []) };
}

/** The modules that files call so, each with its part; of other names, the name. */
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
