// A thread for one sound: decodes it and brings it to a base's rate while training and other answers go on.
import { parentPort, workerData } from 'node:worker_threads';
import { DomainError } from '@graft/contracts';
import { decodeAudio, resample } from '@graft/peft-core/media';
import type { DecodedSound, SoundOrder } from './sound-decoder.js';

const { bytes, samplingRate } = workerData as SoundOrder;

function decoded(): DecodedSound {
  try {
    const sound = decodeAudio(bytes);
    const { values } = sound;
    return { samples: resample(sound.samples, sound.samplingRate, samplingRate), values };
  } catch (error) {
    if (error instanceof DomainError) return { problem: error.message };
    throw error;
  }
}

parentPort?.postMessage(decoded());
