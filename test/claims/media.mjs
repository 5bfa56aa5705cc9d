// Comparisons on images and audio: the base model and data of `graft up --example`, PEFT and full fine-tuning.
import { join } from 'node:path';
import { EXAMPLES as examples } from '@graft/examples';
import { terminal } from '../../apps/cli/dist/output/terminal.js';
import { peftOf } from '../bench/peft-configs.mjs';
import { FULL, mean, megabytes, named, percent, refusals, times } from './say.mjs';

/** Learning rates of each method; the better one counts. */
const RATES = {
  'LORA all-linear': [3e-4, 1e-3],
  LORA: [3e-4, 1e-3],
  IA3: [3e-3, 1e-2],
  LN_TUNING: [1e-3, 3e-3],
  [FULL]: [3e-5, 1e-4],
};

/** Base and data of an example, fetched into `cache` the first time. */
export async function exampleOf(cache, name) {
  const kind = examples.find((one) => one.name === name);
  const out = terminal(false);
  const base = await kind.base(cache, out);
  const { trainFile, heldOutFile } = await kind.data(cache, out);
  return { base: base.source.replace(/^dir:/, ''), train: trainFile, heldOut: heldOutFile };
}

function claimOf({ name, title, task, rows, about }) {
  return {
    name,
    title,
    about: ({ quick }) =>
      `${about} ${quick ? 4 : 40} steps of 8, ${quick ? 'one seed' : 'two seeds'}; each method ran with two learning rates (${Object.entries(RATES).map(([method, rates]) => `${named(method)} ${rates.join(' and ')}`).join(', ')}). The table shows the rate with the better mean, chosen on the same held-out examples. The head for the labels is new and trained by all; its parameters count.`, // prettier-ignore
    needs: async (cache) => ({ [name]: await exampleOf(join(cache, 'examples'), name) }),
    jobs: ({ quick, [name]: given }) =>
      Object.entries(RATES).flatMap(([method, rates]) =>
        (quick ? rates.slice(0, 1) : rates).flatMap((learningRate) =>
          (quick ? [1] : [1, 2]).map((seed) => ({
            key: `${method}/${learningRate}/${seed}`,
            base: given.base,
            dtype: 'bf16',
            trial: {
              task,
              peft: peftOf(method),
              train: given.train,
              seed,
              learningRate,
              steps: quick ? 4 : 40,
              maxSeqLen: rows,
              heldOut: given.heldOut,
            },
          })),
        ),
      ),
    render(results) {
      const refused = {};
      const found = Object.entries(RATES).flatMap(([method, rates]) => {
        const sides = rates.flatMap((rate) => {
          const all = Object.entries(results).filter(([key]) => key.startsWith(`${method}/${rate}/`)); // prettier-ignore
          for (const [, one] of all) if (one.refused) refused[method] = one;
          const kept = all.filter(([, one]) => !one.refused).map(([, one]) => one);
          return kept.length === 0 ? [] : [{ rate, kept, accuracy: mean(kept.map((one) => one.measured.heldOut.accuracy)) }]; // prettier-ignore
        });
        sides.sort((a, b) => b.accuracy - a.accuracy);
        return sides.slice(0, 1).map((side) => ({ method, ...side }));
      });
      const full = found.find(({ method }) => method === FULL);
      const step = ({ kept }) => mean(kept.map(({ stepSeconds }) => stepSeconds));
      const peak = ({ kept }) => Math.max(...kept.map(({ peakBytes }) => peakBytes));
      return {
        columns: ['method', 'trainable parameters', 'of full fine-tuning', 'file', 'held-out accuracy', 'step', 'of full fine-tuning', 'peak memory', 'of full fine-tuning'], // prettier-ignore
        rows: found.map((side) => {
          const { method, rate, kept, accuracy } = side;
          const [{ trainable, bytes }] = kept;
          return [
            `${named(method)} (${rate})`,
            trainable,
            full ? percent(trainable / full.kept[0].trainable, 3) : '',
            megabytes(bytes),
            `${percent(accuracy)} (${kept.map((one) => percent(one.measured.heldOut.accuracy)).join(', ')})`,
            `${(1000 * step(side)).toFixed(0)} ms`,
            full ? times(step(side) / step(full)) : '',
            megabytes(peak(side)),
            full ? times(peak(side) / peak(full)) : '',
          ];
        }),
        notes: refusals(refused),
        plots: {},
      };
    },
  };
}

export const images = claimOf({
  name: 'images',
  title: 'Images: PEFT and full fine-tuning',
  task: 'image_cls',
  rows: 128,
  about:
    'DINOv2 ViT-S/14 at 112 pixels classifies ten kinds of clothes of Fashion-MNIST (1,000 images for training, 200 held out; the base model and data of `graft up --example images`).',
});

export const audio = claimOf({
  name: 'audio',
  title: 'Audio: PEFT and full fine-tuning',
  task: 'audio_cls',
  rows: 512,
  about:
    'The encoder of Whisper tiny.en with windows of 10 seconds recognizes six voices, two in each of three languages, from 300 announcements (`asterisk-core-sounds` and `asterisk-prompt` of Debian; CC BY-SA 3.0, CC BY 3.0, BSD-2-Clause and GPL-2.0). 120 other sentences are held out (the base model and data of `graft up --example audio`). The decoder takes no part.',
});
