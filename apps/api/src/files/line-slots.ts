import { Slots } from '../limits/slots.js';

/** Limits the requests that show lines of a file, since each reads the file from its start on the API's thread. */
export const lineSlots = new Slots({
  atOnce: 2,
  each: 1,
  waiting: 64,
  waitingEach: 16,
  what: 'records of files are being read',
});
