// Results of benchmarks as files: docs/results/NAME.json. `node tools/results.mjs` writes the pages from them.
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';

const FOLDER = new URL('../../docs/results/', import.meta.url);

/** Column with the machine and date of each row. A table without it has one machine for all rows, in `machine`. */
const MEASURED_ON = 'measured on';

/** Cell that keeps the value of the replaced row, for example its goal; empty in a new row. */
export const KEPT = Symbol('kept');

/** @returns {string} processor and today's date, for example "AMD EPYC 9V74 80-Core Processor, 2026-11-27" */
export const measuredOn = () =>
  `${cpus()[0]?.model.trim() ?? 'unknown processor'}, ${new Date().toISOString().slice(0, 10)}`;

/**
 * Replaces rows of a table that was measured before.
 *
 * A row replaces the row with the same first cell. In a table with the column "measured on", it replaces only the row of
 * the same processor.
 *
 * @param {string} name file in docs/results, without .json
 * @param {(string | number | typeof KEPT)[][]} rows cells in the order of the file's columns; without the column "measured on"
 * @throws {Error} if a row has another number of cells than the table
 */
export function record(name, rows) {
  const path = new URL(`${name}.json`, FOLDER);
  const result = JSON.parse(readFileSync(path, 'utf8'));
  const perRow = result.columns.at(-1) === MEASURED_ON;
  const here = measuredOn();
  const processor = (cell) => String(cell).split(',')[0];
  for (const cells of rows) {
    const row = perRow ? [...cells, here] : cells;
    if (row.length !== result.columns.length)
      throw new Error(`${name}.json: ${row.length} cells, expected ${result.columns.length}`);
    const at = result.rows.findIndex(
      (other) => other[0] === row[0] && (!perRow || processor(other.at(-1)) === processor(here)),
    );
    const old = result.rows[at] ?? [];
    result.rows[at === -1 ? result.rows.length : at] = row.map((cell, i) =>
      cell === KEPT ? (old[i] ?? '') : cell,
    );
  }
  if (!perRow) result.machine = here;
  writeResult(path, result);
  console.log(`recorded in ${fileURLToPath(path)}; now run node tools/results.mjs`);
}

/** Writes a table with one row per line, so that a diff shows what changed. The file is complete or unchanged. */
export function writeResult(path, result) {
  const lines = Object.entries(result).map(([key, value]) => {
    const text =
      Array.isArray(value) && Array.isArray(value[0])
        ? `[\n    ${value.map((row) => JSON.stringify(row)).join(',\n    ')}\n  ]`
        : JSON.stringify(value, null, 2).replaceAll('\n', '\n  ');
    return `  ${JSON.stringify(key)}: ${text}`;
  });
  const file = path instanceof URL ? fileURLToPath(path) : path;
  writeFileSync(`${file}.part`, `{\n${lines.join(',\n')}\n}\n`);
  renameSync(`${file}.part`, file);
}
