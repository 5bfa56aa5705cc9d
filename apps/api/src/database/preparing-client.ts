import { Client, type QueryResult } from 'pg';

/** Uses after which a statement is prepared: many are made for one request and never come again. */
const OFTEN = 4;
/** Statements that are prepared, and those whose uses are counted. */
const MOST_PREPARED = 400;
const MOST_COUNTED = 2_000;

interface Known {
  uses: number;
  name: string | null;
}

/** The statements of this process, by their text. Every connection prepares them for itself. */
class Statements {
  private readonly known = new Map<string, Known>();
  private names = 0;
  private age = 0;

  nameOf(text: string): string | undefined {
    let one = this.known.get(text);
    if (!one) {
      if (this.known.size >= MOST_COUNTED) this.forget(({ name }) => name === null);
      this.known.set(text, (one = { uses: 0, name: null }));
    }
    if (one.name === null && ++one.uses >= OFTEN && this.names < MOST_PREPARED)
      one.name = `graft_${this.age}_${this.names++}`;
    return one.name ?? undefined;
  }

  /** All are prepared anew, under other names. */
  renew(): void {
    this.forget(() => true);
    this.names = 0;
    this.age++;
  }

  private forget(which: (one: Known) => boolean): void {
    for (const [text, one] of this.known) if (which(one)) this.known.delete(text);
  }
}

const statements = new Statements();

/** A newer process's migration gave a table a column while this process's `SELECT *` of it was prepared. */
export const isOutdated = (error: unknown): boolean =>
  /cached plan must not change result type/.test(String((error as Error | null)?.message));

/**
 * A connection that has PostgreSQL parse and plan what is asked often once, not each time: that is more work than most
 * of Graft's statements are.
 */
export class PreparingClient extends Client {
  // The driver's other forms, with callbacks and with query objects, are none of ours and pass.
  override query(...asked: never[]): never {
    const [text, values, ...more] = asked as unknown[];
    if (typeof text !== 'string' || !Array.isArray(values) || more.length > 0)
      return Reflect.apply(super.query, this, asked) as never;
    return this.prepared(text, values) as never;
  }

  private async prepared(text: string, values: unknown[]): Promise<QueryResult> {
    try {
      return await this.named(text, values);
    } catch (error) {
      if (!isOutdated(error)) throw error;
      statements.renew();
      // Inside a transaction nothing but its end is possible any more.
      if (this.getTransactionStatus() !== 'I') throw error;
      return this.named(text, values);
    }
  }

  private named(text: string, values: unknown[]): Promise<QueryResult> {
    const name = statements.nameOf(text);
    return name === undefined
      ? super.query(text, values)
      : super.query({ name, text, values: values as never });
  }
}
