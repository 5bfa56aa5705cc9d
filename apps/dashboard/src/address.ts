// Parses the query of an address into strings, without interpreting numbers or JSON.

/** Query parameters. A repeated parameter is a list. */
export type Search = Readonly<Record<string, string | readonly string[] | undefined>>;

export function parseSearch(text: string): Search {
  const given = new URLSearchParams(text);
  return Object.fromEntries(
    [...new Set(given.keys())].map((name) => {
      const values = given.getAll(name);
      return [name, values.length > 1 ? values : values[0]];
    }),
  );
}

export const parametersOf = (search: Search): URLSearchParams =>
  new URLSearchParams(
    Object.entries(search).flatMap(([name, value]) =>
      value === undefined ? [] : [value].flat().map((one) => [name, one]),
    ),
  );

export function stringifySearch(search: Search): string {
  const text = parametersOf(search).toString().replaceAll('+', '%20').replaceAll('%2C', ',');
  return text && `?${text}`;
}
