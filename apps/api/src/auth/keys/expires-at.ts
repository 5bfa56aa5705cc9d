import { z } from 'zod';

/** End of the year 9999. PostgreSQL accepts later dates; JavaScript's ISO format does not. */
const LATEST = 253_402_300_799;

/** Expiry of a key or token in Unix seconds. Keys without one never expire. */
export const ExpiresAt = z
  .int()
  .positive()
  .max(LATEST)
  .nullish()
  .describe('Unix time in seconds. Default: never');
