import type { CatalogTask, RecordFormatDescription } from '@graft/contracts';
import { useQuery } from '@tanstack/react-query';
import { useMemo } from 'react';
import { api } from '../api/api.js';

/**
 * Returns the formats of training data that the server supports. Empty until loaded. They change only
 * with the server's version, so they are requested once.
 */
export function useRecordFormats(): readonly RecordFormatDescription[] {
  const { data } = useQuery({ queryKey: ['tasks'], queryFn: api.tasks, staleTime: Infinity });
  return useMemo(() => (data ? formatsOf(data) : []), [data]);
}

/** Returns the formats of all tasks without duplicates. */
export const formatsOf = (
  tasks: readonly Pick<CatalogTask, 'record_formats'>[],
): readonly RecordFormatDescription[] => [
  ...new Map(
    tasks.flatMap(({ record_formats: formats }) => formats.map((format) => [format.name, format])),
  ).values(),
];

/** Returns "chats, plain texts or preferences". */
export function namesOf(formats: readonly RecordFormatDescription[]): string {
  const names = formats.map(({ nouns: [, many] }) => many);
  const last = names.pop() ?? 'examples';
  return names.length > 0 ? `${names.join(', ')} or ${last}` : last;
}

/** Columns of a table by the record field that they provide. '' for an optional field without a column. */
export type Picked = Readonly<Record<string, string>>;

export const titleOf = ({ nouns: [, many] }: RecordFormatDescription): string =>
  many.charAt(0).toUpperCase() + many.slice(1);

export const fieldsOf = ({ keys, optional_keys: more }: RecordFormatDescription): string[] => [
  ...keys,
  ...more,
];

/** Returns the format to offer first: that of the suggested fields, or one whose keys match column names. */
export function likeliest(
  formats: readonly RecordFormatDescription[],
  columns: readonly string[],
  suggested: Picked | null,
): RecordFormatDescription | undefined {
  const among = (names: readonly string[]) =>
    formats.find(({ keys }) => keys.every((key) => names.includes(key)));
  const fields = Object.keys(suggested ?? {});
  const exact = formats.find(
    ({ keys }) => keys.length === fields.length && keys.every((key) => fields.includes(key)),
  );
  return exact ?? among(columns) ?? formats[0];
}

/**
 * Returns the column of each field: the chosen one, the suggested one, the one of the same name, or
 * an unused one.
 */
export function pickedOf(
  format: RecordFormatDescription,
  columns: readonly string[],
  suggested: Picked | null,
  chosen: Picked,
): Picked {
  const fields = fieldsOf(format);
  const given = (field: string): string | undefined =>
    chosen[field] ?? suggested?.[field] ?? columns.find((column) => column === field);
  const taken = new Set(fields.map(given));
  // Fields of the format's example are always trained on, including optional ones, so they are not
  // listed.
  const shown = Object.keys(JSON.parse(format.line) as object);
  return Object.fromEntries(
    fields.map((field) => {
      const isExpected = format.keys.includes(field) || shown.includes(field);
      const rest = isExpected ? columns.find((column) => !taken.has(column)) : undefined;
      const column = given(field) ?? rest ?? (format.keys.includes(field) ? columns[0] : '') ?? '';
      taken.add(column);
      return [field, column];
    }),
  );
}

/** Returns the format of texts with one label. Undefined if it is not among the formats. */
export const classification = (
  formats: readonly RecordFormatDescription[],
): RecordFormatDescription | undefined =>
  formats.find(
    ({ keys, learnt }) => keys.length === 2 && keys.includes('text') && learnt.includes('label'),
  );

/** Assigns a column to a field. Another field that had it gets the column that the field had before. */
export function withColumn(picked: Picked, field: string, column: string): Picked {
  const others = Object.entries(picked).map(([name, had]) =>
    had === column && name !== field ? [name, picked[field] ?? ''] : [name, had],
  );
  return { ...Object.fromEntries(others), [field]: column };
}
