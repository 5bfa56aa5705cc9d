import { z } from 'zod';

export const tokenCount = z
  .int()
  .min(0)
  .max(2 ** 32 - 1);
