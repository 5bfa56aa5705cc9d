import type { Catalog, RecordFormatDescription } from '@graft/contracts';
import { useQuery } from '@tanstack/react-query';
import { createContext, useMemo } from 'react';
import { api } from './api.js';

/** Forms of training data that this server knows; none until it has said so. */
export const RecordFormats = createContext<readonly RecordFormatDescription[]>([]);

/** The formats, while somebody is signed in. */
export function useRecordFormats(isIn: boolean): readonly RecordFormatDescription[] {
  const { data } = useQuery({ queryKey: ['catalog'], queryFn: api.catalog, enabled: isIn });
  return useMemo(() => (data ? formatsOf(data) : []), [data]);
}

/** Those of all tasks, each once. */
export const formatsOf = ({
  tasks,
}: Pick<Catalog, 'tasks'>): readonly RecordFormatDescription[] => [
  ...new Map(
    tasks.flatMap(({ record_formats: formats }) => formats.map((format) => [format.name, format])),
  ).values(),
];

/** "chats, plain texts or preferences" */
export function namesOf(formats: readonly RecordFormatDescription[]): string {
  const names = formats.map(({ nouns: [, many] }) => many);
  const last = names.pop() ?? 'examples';
  return names.length > 0 ? `${names.join(', ')} or ${last}` : last;
}

/** A format that a table may hold: its fields are cells of text. */
export interface TableFormat {
  readonly name: string;
  readonly title: string;
  readonly fields: readonly string[];
  readonly learnt: readonly string[];
}

/** Those whose example line has texts and truth values only, no lists, pictures or sounds. */
export const tableFormats = (formats: readonly RecordFormatDescription[]): TableFormat[] =>
  formats.flatMap(({ name, nouns: [, many], line, learnt }) => {
    const example = JSON.parse(line) as Record<string, unknown>;
    const isCell = (value: unknown): boolean =>
      typeof value === 'boolean' || (typeof value === 'string' && !value.startsWith('data:'));
    if (!Object.values(example).every(isCell)) return [];
    const title = many.charAt(0).toUpperCase() + many.slice(1);
    return [{ name, title, fields: Object.keys(example), learnt }];
  });
