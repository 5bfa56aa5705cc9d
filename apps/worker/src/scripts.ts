import { fileURLToPath } from 'node:url';

// Here, because these paths must hold in both builds: each file compiled alone (dist) and all in one (bundle), where
// only the programs keep their places below this file.

/** The trainer, a process that the agent starts. */
export const TRAINER_MAIN = scriptAt('./trainer/main.js');
/** Decodes sounds, in a thread of the trainer. */
export const SOUND_THREAD = scriptAt('./trainer/sound-thread.js');

function scriptAt(path: string): string {
  return fileURLToPath(new URL(path, import.meta.url));
}
