import { z } from 'zod';

/** The end of the year 9999: PostgreSQL takes more, JavaScript's dates and people's do not. */
const LATEST = 253_402_300_799;

/** When a key or a token ends; left out or null, never. */
export const ExpiresAt = z.int().positive().max(LATEST).nullish().describe('Unix seconds');
