import { Client, type QueryResult } from 'pg';

/**
 * Number of uses after which a statement is prepared. Many statements are built for one request and never repeated.
 */
const OFTEN = 4;
/** Maximum numbers of prepared statements, and of statements whose uses are counted. */
const MOST_PREPARED = 400;
const MOST_COUNTED = 2_000;

interface Known {
  uses: number;
  name: string | null;
}

/** Statements of this process, by their text. Every connection prepares them separately. */
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

  /** Makes all statements be prepared again, under new names. */
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

/** Whether a prepared `SELECT *` is outdated because a newer process's migration added a column. */
export const isOutdated = (error: unknown): boolean =>
  /cached plan must not change result type/.test(String((error as Error | null)?.message));

/**
 * Connection that prepares frequent statements, so that PostgreSQL parses and plans them only once. Most of Graft's
 * statements take longer to parse and plan than to execute.
 */
export class PreparingClient extends Client {
  // The driver's other signatures, with callbacks or query objects, are passed on.
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
      // A failed transaction can only be rolled back.
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
