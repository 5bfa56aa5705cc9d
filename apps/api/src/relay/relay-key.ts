import { createHash, timingSafeEqual } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { Database } from '../database/database.js';
import { randomText } from '../ids.js';

/** Secret, stored in the database, by which the API processes of an installation authenticate each other. */
@Injectable()
export class RelayKey {
  private value: string | null = null;

  constructor(private readonly database: Database) {}

  /** Reads the key. The first process creates it. */
  async load(): Promise<void> {
    const [row] = await this.database.query<{ relay_key: string }>(
      'UPDATE installation SET relay_key = COALESCE(relay_key, $1) RETURNING relay_key',
      [randomText(43)],
    );
    this.value = row?.relay_key ?? null;
  }

  get text(): string {
    if (this.value === null) throw new Error('the relay key has not been loaded yet');
    return this.value;
  }

  isSame(other: string | null): boolean {
    const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
    return other !== null && timingSafeEqual(digest(other), digest(this.text));
  }
}
