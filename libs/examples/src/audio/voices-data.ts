import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { debianFiles } from '../download/debian.js';
import { decodeGsm, GSM_FRAME, GSM_SAMPLES, GSM_SAMPLING_RATE } from '../formats/gsm.js';
import type { ExampleData, Progress } from '../example.js';
import { labelledData, type Labelled, type LabelledHeldOut } from '../labelled-data.js';
import { wavFile } from '../formats/wav.js';

const CORE = 'asterisk-core-sounds/asterisk-core-sounds';

interface Voice {
  readonly label: string;
  readonly licence: string;
  /** Path of the package in Debian's pool, after pool/main/a/. */
  readonly path: string;
  readonly sha256: string;
}

/**
 * Speakers of the announcements in Debian's packages of the telephone exchange Asterisk: Allison Smith and July E. Jiménez
 * (Avatar Ltda.) in Spanish, June Wallack and Armelle Desjardins in French, Carlo Flora and Paola Dal Zot (with Marco
 * Menardi, http://www.voip.ammdomus.it) in Italian. There are two speakers per language, so the language does not identify the speaker.
 */
const VOICES: readonly Voice[] = [
  {
    label: 'Allison',
    licence: 'CC BY-SA 3.0',
    path: `${CORE}-es-gsm_1.6.1-1_all.deb`,
    sha256: '533b4c29e232cae99f89a6933b5fc0af5341514e513924df401c683e222614b7',
  },
  {
    label: 'July',
    licence: 'GPL-2.0',
    path: 'asterisk-prompt-es-co/asterisk-prompt-es-co_0.20070403-4_all.deb',
    sha256: '36095a4c6761be6f05e8f8505480e6d31e4a114d60413c5f6a1fbf59985ad132',
  },
  {
    label: 'June',
    licence: 'CC BY-SA 3.0',
    path: `${CORE}-fr-gsm_1.6.1-1_all.deb`,
    sha256: '97bd8bebb7ef775046802a5a466d8f89916f54f437e158a1ec537cef814d44fd',
  },
  {
    label: 'Armelle',
    licence: 'BSD-2-Clause',
    path: 'asterisk-prompt-fr-armelle/asterisk-prompt-fr-armelle_20070613-3_all.deb',
    sha256: '2fe2bd3469cd3c2b44259cd61f77cc36f24bab677f8c71d8011b58007ffa7379',
  },
  {
    label: 'Carlo',
    licence: 'CC BY 3.0',
    path: `${CORE}-it-gsm_1.6.1-1_all.deb`,
    sha256: 'fb6d6ce94502894714f00240c372a291bcaa4cd3e05fdf278780a4dd9edfabab',
  },
  {
    label: 'Paola',
    licence: 'CC BY-SA 3.0',
    path: 'asterisk-prompt-it/asterisk-prompt-it-menardi-gsm_1.4.22+mm20110907-3.2_all.deb',
    sha256: 'b75b0080d16718bcec14182057f1a9dc2842ad02d088fc8ad717cc45602f4444',
  },
];
/** Version of the recipe in the folder's name. Increase it if the same packages yield different files. */
const RECIPE = 1;
export const TRAIN_EACH = 50;
export const HELD_OUT_EACH = 20;

/** Recordings that are not sentences. */
const UNFIT = /\/(silence|letters|digits|phonetic)\/|\/spy-/;
/** Announcements about conferences are held out, so that no similar sentence is in the training data. */
const HELD_OUT = /^conf/;
const [SHORTEST, LONGEST] = [1, 6];

type Clip = Labelled<'audio'>;

/** Creates the two files of the example in `cache` from the Debian packages. */
export const voicesData = (
  cache: string,
  progress: Progress,
): Promise<ExampleData<LabelledHeldOut<'audio'>>> =>
  labelledData(join(cache, `voices-${TRAIN_EACH}-${HELD_OUT_EACH}-r${RECIPE}`), {
    medium: 'audio',
    name: 'voices',
    make: async () => {
      const train: Clip[][] = [];
      const heldOut: Clip[][] = [];
      for (const voice of VOICES) {
        const spoken = await spokenBy(voice, cache, progress);
        const chosen = choose(voice.label, spoken);
        const labelled = (name: string): Clip => {
          const wav = wavFile(decodeGsm(spoken.get(name) as Buffer), GSM_SAMPLING_RATE);
          return { audio: `data:audio/wav;base64,${wav.toString('base64')}`, label: voice.label };
        };
        train.push(chosen.train.map(labelled));
        heldOut.push(chosen.heldOut.map(labelled));
      }
      return { train: byTurns(train), heldOut: byTurns(heldOut) };
    },
  });

/** Announcements of a voice by name. The names describe their topics. */
async function spokenBy(
  { label, licence, path, sha256 }: Voice,
  cache: string,
  progress: Progress,
): Promise<Map<string, Buffer>> {
  const [, name = ''] = /\/(.+)_.+_/.exec(path) ?? [];
  const what = `announcements by ${label} (${licence}, Debian package ${name})`;
  const found = new Map<string, Buffer>();
  for (const file of await debianFiles(
    { path: `pool/main/a/${path}`, sha256, what },
    cache,
    progress,
  )) {
    const [, announcement] = /\/sounds\/.*?([^/]+)\.gsm$/.exec(file.name) ?? [];
    if (announcement !== undefined && !UNFIT.test(file.name)) found.set(announcement, file.data);
  }
  return found;
}

/** Selects announcements of suitable length. The order depends only on their names. */
export function choose(
  label: string,
  spoken: ReadonlyMap<string, Buffer>,
): { train: string[]; heldOut: string[] } {
  const rank = (name: string): string => createHash('sha256').update(name).digest('hex');
  const names = [...spoken]
    .filter(([, gsm]) => secondsOf(gsm) >= SHORTEST && secondsOf(gsm) <= LONGEST)
    .map(([name]) => name)
    .sort((a, b) => (rank(a) < rank(b) ? -1 : 1));
  const train = names.filter((name) => !HELD_OUT.test(name)).slice(0, TRAIN_EACH);
  const heldOut = names.filter((name) => HELD_OUT.test(name)).slice(0, HELD_OUT_EACH);
  if (train.length < TRAIN_EACH || heldOut.length < HELD_OUT_EACH)
    throw new Error(
      `too few announcements by ${label}: found ${train.length} for training and ${heldOut.length} to hold out`,
    );
  return { train, heldOut };
}

const secondsOf = ({ length }: Buffer): number =>
  ((length / GSM_FRAME) * GSM_SAMPLES) / GSM_SAMPLING_RATE;

/** Interleaves the clips of the voices. */
const byTurns = (voices: readonly (readonly Clip[])[]): Clip[] =>
  (voices[0] ?? []).flatMap((_, at) => voices.map((clips) => clips[at] as Clip));
