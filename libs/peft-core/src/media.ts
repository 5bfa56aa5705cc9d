/** Pictures and sounds as people send them, decoded: neither libtorch nor the tokenizer, for a process of its own. */
export { decodePictures } from './data/image/picture-files.js';
export { decodeAudio } from './data/audio/decode-audio.js';
export { wavFile } from './data/audio/windows.js';
export { mediaBytes } from './data/data-url.js';
export { MAX_VALUES as MAX_SOUND_VALUES, tooMuchSound } from './data/audio/sound.js';
export { resample } from './data/audio/resample.js';
