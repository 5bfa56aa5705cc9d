/**
 * Decodes uploaded images and audio. Loads neither libtorch nor the tokenizer, so that it can run in a separate
 * process.
 */
export { decodeImages } from './data/image/image-files.js';
export { decodeAudio } from './data/audio/decode-audio.js';
export { wavFile } from './data/audio/windows.js';
export { mediaBytes } from './data/data-url.js';
export { MAX_VALUES as MAX_SOUND_VALUES, audioTooLong } from './data/audio/audio-clip.js';
export { resample } from './data/audio/resample.js';
