// Thread that decodes the audio of a request and resamples it for the base, in parallel with the trainer.
import { readFileSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { DomainError } from '@graft/contracts';
import { decodeAudio, MAX_SOUND_VALUES, resample } from '@graft/peft-core/media';
import type { DecodedSound, SoundOrder } from './sound-decoder.js';

const { sounds, samplingRate } = workerData as SoundOrder;

function decoded(bytes: Uint8Array): DecodedSound {
  try {
    const sound = decodeAudio(bytes);
    const { values } = sound;
    return { samples: resample(sound.samples, sound.samplingRate, samplingRate), values };
  } catch (error) {
    if (error instanceof DomainError) return { problem: error.message };
    throw error;
  }
}

const found: DecodedSound[] = [];
let values = 0;
for (const sound of sounds) {
  const one = decoded('file' in sound ? readFileSync(sound.file) : sound);
  found.push(one);
  if ('problem' in one) break;
  values += one.values;
  if (values > MAX_SOUND_VALUES) break;
}
parentPort?.postMessage(found);
