import { fileURLToPath } from 'node:url';

/** The small base model in this repository. The CLI's bundle is as deep as dist/, so the path holds in both. */
export const TINY_BASE = fileURLToPath(new URL('../../../examples/tiny-base', import.meta.url));
