/** Full fine-tuning: the run trains its own f32 copy of every parameter; the shared base stays as it is. */
import { z } from 'zod';
import { defineMethod } from '../plugin.js';
import { restore } from './leaf.js';
import { inDtype, OwnModules, takeAll, wholeModel } from './own-modules.js';

const Options = z.strictObject({});

export const full = defineMethod<z.infer<typeof Options>>({
  name: 'FULL',
  title: 'Full fine-tuning',
  summary: 'Trains a copy of every weight. Needs many times the memory of the other methods.',
  paper: null,
  defaultLearningRate: 2e-5,
  options: Options,
  neutral: {},
  footprint: (outline) => ({ trainableParameters: wholeModel(outline), virtualTokens: 0 }),
  attach(model, _, { run }) {
    const own = new OwnModules(run);
    takeAll(own, model.sites);
    return {
      parameters: own.parameters,
      exported: () => new Map(own.parameters),
      load: (stored) => restore(own.parameters, stored),
      merged: () => inDtype(own.parameters, model.dtype),
      resolvedConfig: () => ({}),
      detach() {
        model.sites.detach(run);
        own.dispose();
      },
    };
  },
});
