import type { Received } from '../blobs/blob-store.js';
import type { Checked } from './rows/file-check.js';

export interface ReceivedFile {
  readonly blob: Received;
  readonly checked: Checked;
}

export interface ReceiveContext {
  /** Project that uploads the data. */
  readonly uploader: string;
  /** Aborted when the client no longer waits. */
  readonly gone: AbortSignal;
  /** Approximate number of bytes to expect. */
  readonly announced?: number;
  /** Throws if that many bytes exceed a quota. */
  readonly within?: (bytes: number) => void;
  /** Called after the last byte was received. Later steps read a local file. */
  readonly received?: () => void;
  /**
   * Whether to reject plain texts next to a column that looks like their labels, so that the user selects the
   * columns.
   */
  readonly requiresLabelColumns?: boolean;
}
