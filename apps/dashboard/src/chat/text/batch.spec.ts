import { expect, it } from 'vitest';
import {
  delimiterOf,
  guessRoles,
  inputOf,
  readTable,
  rowsOf,
  rowsOfLines,
  toCsv,
} from './batch.js';

const read = (content: string, name: string) => readTable(new File([content], name));

it('reads CSV with quotes, line breaks and semicolons', async () => {
  const table = await read('\ufeffmessage;category\n"a; ""b""\nc";card\nd;pin\n', 'x.csv');
  expect(table.columns).toEqual(['message', 'category']);
  const roles = guessRoles(table);
  expect(roles).toEqual({ text: 'message', pair: null, label: 'category' });
  expect(rowsOf(table, roles)).toEqual([
    { text: 'a; "b"\nc', pair: null, label: 'card' },
    { text: 'd', pair: null, label: 'pin' },
  ]);
});

it('reads JSON Lines with pairs, and lines of text', async () => {
  const table = await read('{"text":"a","text_pair":"b","label":1}\n\n', 'x.jsonl');
  const [row] = rowsOf(table, guessRoles(table));
  expect(row).toEqual({ text: 'a', pair: 'b', label: '1' });
  expect(inputOf(row!)).toEqual({ text: 'a', text_pair: 'b' });
  const plain = await read('one\n\n two \n', 'x.txt');
  expect(rowsOf(plain, guessRoles(plain)).map(inputOf)).toEqual(['one', 'two']);
  expect(rowsOfLines(' a\n\nb')).toHaveLength(2);
});

it('takes the longest column as text, and skips rows without one', async () => {
  const table = await read('n,words\n1,much longer\n2,\n', 'x.csv');
  expect(guessRoles(table)).toEqual({ text: 'words', pair: null, label: null });
  expect(rowsOf(table, guessRoles(table))).toHaveLength(1);
});

it('finds the separator', () => {
  expect(['a,b;c,d', 'a;b;c', 'a\tb', 'a'].map(delimiterOf)).toEqual([',', ';', '\t', ',']);
});

it('writes CSV that spreadsheets do not run', () => {
  expect(toCsv([['a "b"', '-1.5', '=SUM(A1)', 'c,d']])).toBe('"a ""b""",-1.5,\'=SUM(A1),"c,d"\r\n');
});
