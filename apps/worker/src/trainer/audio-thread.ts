// Thread that decodes the audio of a request and resamples it for the base, in parallel with the trainer.
import { readFileSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { DomainError } from '@graft/contracts';
import { decodeAudio, MAX_SOUND_VALUES, resample } from '@graft/peft-core/media';
import type { DecodedAudio, DecodeRequest } from './audio-decoder.js';

const { clips, samplingRate } = workerData as DecodeRequest;

function decoded(bytes: Uint8Array): DecodedAudio {
  try {
    const audio = decodeAudio(bytes);
    const { values } = audio;
    return { samples: resample(audio.samples, audio.samplingRate, samplingRate), values };
  } catch (error) {
    if (error instanceof DomainError) return { problem: error.message };
    throw error;
  }
}

const results: DecodedAudio[] = [];
let values = 0;
for (const clip of clips) {
  const result = decoded('file' in clip ? readFileSync(clip.file) : clip);
  results.push(result);
  if ('problem' in result) break;
  values += result.values;
  if (values > MAX_SOUND_VALUES) break;
}
parentPort?.postMessage(results);
