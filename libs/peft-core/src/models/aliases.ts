/**
 * What files call modules that transformers has renamed since. Keys and values are whole paths; '{n}' stands for the
 * number of a layer.
 */
export type Aliases = Readonly<Record<string, string>>;

const NUMBER = /(?<=\.)\d+(?=\.)/;

/** A module's name in files. */
export function inFiles(aliases: Aliases, path: string): string {
  const [number = ''] = NUMBER.exec(path) ?? [];
  const alias = aliases[path] ?? aliases[path.replace(NUMBER, '{n}')];
  return alias?.replace('{n}', number) ?? path;
}

/** The other way round. */
export const inModules = (aliases: Aliases, name: string): string =>
  inFiles(Object.fromEntries(Object.entries(aliases).map(([path, alias]) => [alias, path])), name);
