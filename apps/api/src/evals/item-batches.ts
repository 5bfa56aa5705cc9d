import { DomainError, MAX_LINE_BYTES, parseBody } from '@graft/contracts';
import { jsonbText } from '../database/jsonb.js';
import { LineSplitter } from '../files/rows/line-splitter.js';
import { EvalRow } from './eval-body.js';
import { itemCheck, type Schema } from './item-schema.js';

const MOST_ITEMS = 10_000;
export const MOST_BYTES = 64 * 1024 * 1024;

/** The limits of a batch. It ends when it reaches one of them. */
const BATCH = { items: 500, bytes: 1024 * 1024 };

/** Items that one statement inserts. */
export interface ItemBatch {
  readonly count: number;
  /** A JSON array of rows, in UTF-8. */
  readonly json: Uint8Array<ArrayBuffer>;
}

/** The schema that a file's items must match, and the parameters that errors name. */
export interface ItemForm {
  readonly schema: Schema;
  /** The request's parameter with the schema. */
  readonly schemaParam: string;
  /** The request's parameter with the file. */
  readonly param: string;
}

/**
 * Reads the items of a file. Each line is an item: `{"item": {…}, "sample": {…}}`. One batch is parsed at a time.
 * @throws DomainError that names the line
 */
export async function readItems(
  content: AsyncIterable<Buffer>,
  form: ItemForm,
): Promise<ItemBatch[]> {
  const reader = new ItemReader(form);
  const splitter = new LineSplitter(MAX_LINE_BYTES, (line) => reader.take(line));
  for await (const chunk of content) {
    reader.read(chunk.length);
    splitter.push(chunk);
  }
  splitter.end();
  return reader.end();
}

class ItemReader {
  private line = 0;
  private bytesRead = 0;
  private items = 0;
  private bytes = 0;
  private readonly done: ItemBatch[] = [];
  private batch: { line: number; item: Schema; json: string }[] = [];
  private batchBytes = 0;
  private readonly check: ReturnType<typeof itemCheck>;

  constructor(private readonly form: ItemForm) {
    this.check = itemCheck(form.schema, form.schemaParam);
  }

  read(bytes: number): void {
    this.bytesRead += bytes;
    if (this.bytesRead > MOST_BYTES) throw this.wrong(`more than ${MOST_BYTES} bytes`);
  }

  take(bytes: Buffer | null): void {
    const line = ++this.line;
    if (bytes === null) throw this.wrong(`line ${line} is longer than ${MAX_LINE_BYTES} bytes`);
    const text = bytes
      .toString('utf8')
      .replace(/^\ufeff/, '')
      .trim();
    if (text === '') return;
    if (++this.items > MOST_ITEMS) throw this.wrong(`more than ${MOST_ITEMS} items`);
    const { item, json } = this.row(text);
    this.batch.push({ line, item, json });
    this.batchBytes += json.length;
    if (this.batch.length === BATCH.items || this.batchBytes >= BATCH.bytes) this.endBatch();
  }

  end(): ItemBatch[] {
    if (this.batch.length > 0) this.endBatch();
    if (this.done.length === 0) throw this.wrong('the file has no items');
    return this.done;
  }

  private row(text: string): { item: Schema; json: string } {
    const where = `line ${this.line}`;
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      throw this.wrong(`${where} is not JSON`);
    }
    try {
      const row = parseBody(EvalRow, value);
      return { item: row.item, json: jsonbText(row) };
    } catch (error) {
      if (error instanceof RangeError) throw this.wrong(`${where} is nested too deeply`);
      throw this.wrong(`${where}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  private endBatch(): void {
    const found = this.check(this.batch.map(({ item }) => item));
    if (found) throw this.wrong(`line ${this.batch[found.index]?.line}: ${found.problem}`);
    const json = new TextEncoder().encode(`[${this.batch.map((row) => row.json).join()}]`);
    // A number may become longer than it was in the file: 1e20 becomes 21 digits.
    this.bytes += json.length;
    if (this.bytes > MOST_BYTES) throw this.wrong(`more than ${MOST_BYTES} bytes of items`);
    this.done.push({ count: this.batch.length, json });
    this.batch = [];
    this.batchBytes = 0;
  }

  private wrong(what: string): DomainError {
    return new DomainError('invalid_value', `${this.form.param}: ${what}`, this.form.param);
  }
}

/** Makes batches of the rows of a request's body, which have already been checked. */
export function batchesOf(rows: readonly EvalRow[]): ItemBatch[] {
  const batches: ItemBatch[] = [];
  for (let from = 0; from < rows.length; from += BATCH.items) {
    const some = rows.slice(from, from + BATCH.items);
    batches.push({ count: some.length, json: new TextEncoder().encode(jsonbText(some)) });
  }
  return batches;
}
