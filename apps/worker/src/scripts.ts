import { fileURLToPath } from 'node:url';

// In this file, because the paths must be valid in both builds: in dist, where each file is compiled separately, and in the
// bundle, where only the programs keep their location relative to this file.

/** Script of the trainer process, which the agent starts. */
export const TRAINER_MAIN = scriptAt('./trainer/main.js');
/** Script of the trainer's thread that decodes audio. */
export const AUDIO_THREAD = scriptAt('./trainer/audio-thread.js');

function scriptAt(path: string): string {
  return fileURLToPath(new URL(path, import.meta.url));
}
