import type { Job } from '../database/entities/job.js';
import type { StoredFile } from '../database/entities/storage.js';

/** Files of the adapters that a job's is made of, in folders of their own: its results are nothing without them. */
export const madeOf = ({ spec, init_adapter: given }: Job): StoredFile[] =>
  spec.adapters ? given.filter(({ name }) => name.includes('/')) : [];
